"use strict";
// Fills a page of runs with what the service says, and follows it while the run goes on.
(() => {
  const content = document.getElementById("content");
  const message = document.getElementById("message");
  const SLOWEST_MS = 60000;
  const FOCUSABLE = "a, summary, [tabindex]";
  let timer = null;
  let failures = 0;

  const section = () => content.querySelector("section");

  const called = (element) => element.getAttribute("aria-label") || element.textContent;

  // What scripts drew into a part since it came is no change of it.
  const came = new WeakMap();
  const same = (there, place) => {
    const fresh = place.innerHTML;
    if ((came.get(there) ?? there.innerHTML) === fresh) return true;
    came.set(there, fresh);
    return false;
  };

  // Parts that did not change stay as they are: a reader keeps the place, the focus, and what was folded out.
  const renew = (fresh) => {
    const old = section();
    const places = [...fresh.querySelectorAll("[id]")].filter((one) => old && old.querySelector(`#${CSS.escape(one.id)}`));
    if (!old || !places.length) {
      for (const one of fresh.querySelectorAll("[id]")) came.set(one, one.innerHTML);
      content.replaceChildren(fresh);
      return;
    }
    const open = new Set([...old.querySelectorAll("details[open] > summary")].map((one) => one.textContent));
    for (const place of places) {
      const there = old.querySelector(`#${CSS.escape(place.id)}`);
      if (there.localName === "select" || same(there, place)) continue;
      const focused = there.contains(document.activeElement) ? called(document.activeElement) : null;
      there.replaceChildren(...place.childNodes);
      for (const one of there.querySelectorAll("summary")) if (open.has(one.textContent)) one.parentElement.open = true;
      const back = focused && [...there.querySelectorAll(FOCUSABLE)].find((one) => called(one) === focused);
      if (back) back.focus({ preventScroll: true });
    }
    for (const name of ["state", "live"]) {
      if (fresh.dataset[name] === undefined) delete old.dataset[name];
      else old.dataset[name] = fresh.dataset[name];
    }
  };

  const again = () => {
    clearTimeout(timer);
    const live = section() ? section().dataset.live : "5";
    if (live) timer = setTimeout(load, Math.min(SLOWEST_MS, live * 1000 * 2 ** failures));
  };

  const load = async () => {
    if (document.hidden) {
      again();
      return;
    }
    const query = new URLSearchParams(location.search);
    if (section() && section().dataset.state) query.set("state", section().dataset.state);
    let problem = null;
    let status = 0;
    try {
      const response = await rlrig.ask(`/pages/data${location.pathname}?${query}`, { signal: AbortSignal.timeout(30000) });
      status = response.status;
      if (status === 200) {
        const fresh = new DOMParser().parseFromString(await response.text(), "text/html").querySelector("section");
        renew(fresh);
        document.dispatchEvent(new CustomEvent("rlrig-shown"));
        document.title = `${fresh.dataset.title} – RL-RIG`;
      } else if (status !== 204) {
        problem = await rlrig.problemIn(response);
      }
    } catch {
      problem = rlrig.unreachable();
    }
    content.setAttribute("aria-busy", "false");
    if (problem) {
      rlrig.showProblem(message, problem);
      failures += 1;
      if (status >= 400 && status < 500) return; // asking again would not change it
    } else {
      message.hidden = true;
      failures = 0;
    }
    again();
  };

  document.addEventListener("rlrig-token", load);
  document.addEventListener("visibilitychange", () => document.hidden || load());
  load();
})();
