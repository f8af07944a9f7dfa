"use strict";
(() => {
  const MODELS = { rlrig: "Trained", "rlrig-raw": "Untrained" };
  const field = (id) => document.getElementById(id);
  const status = field("status");
  const problem = field("problem");
  let stop = null;

  const say = (text) => {
    status.textContent = text;
  };

  // The address holds what was asked for, behind #, which no server sees.
  const toAddress = () => {
    const values = new URLSearchParams({ prompt: field("prompt").value });
    for (const id of ["seed", "turns"]) if (field(id).value !== "") values.set(id, field(id).value);
    if (field("compare").checked) values.set("compare", "1");
    history.replaceState(null, "", `#${values}`);
  };
  const fromAddress = () => {
    const values = new URLSearchParams(location.hash.slice(1));
    for (const id of ["prompt", "seed", "turns"]) if (values.has(id)) field(id).value = values.get(id);
    field("compare").checked = values.get("compare") === "1";
    rlrig.showParts();
    if (values.has("prompt")) say("This scene came with the link. Draw makes it again.");
  };

  const offerComparison = async () => {
    try {
      const response = await rlrig.ask("/v1/models");
      if (!response.ok) {
        if (response.status === 401) rlrig.showProblem(problem, await rlrig.problemIn(response));
        return;
      }
      const names = (await response.json()).data.map((model) => model.id);
      field("compare-label").hidden = !Object.keys(MODELS).every((name) => names.includes(name));
    } catch {
      rlrig.showProblem(problem, rlrig.unreachable());
    }
  };

  const request = () => {
    const body = { prompt: field("prompt").value.trim(), stream: true, seed: Number(field("seed").value) };
    if (field("turns").value !== "") body.turns = Number(field("turns").value);
    return body;
  };

  const episode = async (model, lane, halt) => {
    const options = {
      method: "POST",
      headers: { "Content-Type": "application/json", Accept: "text/event-stream" },
      body: JSON.stringify({ ...request(), model }),
      signal: halt.signal,
    };
    const response = await rlrig.ask("/v1/images/generations", options);
    if (!response.ok) throw Object.assign(new Error("refused"), { problem: await rlrig.problemIn(response) });
    let ended = false;
    const heard = (event) => {
      if (event.error) throw Object.assign(new Error("failed"), { problem: rlrig.problemOf(500, event) });
      const image = `data:image/png;base64,${event.b64_json}`;
      if (event.type.endsWith(".turn")) {
        lane.add({ ...event, image });
        const lost = event.kept ? "" : `, ${lane.lost}`;
        const what = event.index === 0 ? "The first image is there" : `Turn ${event.index} is there${lost}`;
        say(`${MODELS[model]}: ${what}: ${lane.standing}.`);
      } else {
        ended = true;
        lane.finish(image, event.rlrig.versions, event.rlrig.seconds, event.rlrig.unread);
      }
    };
    await rlrig.readEvents(response, heard, () => halt.abort(new DOMException("silence", "TimeoutError")));
    if (!ended) {
      const lines = ["The connection was cut before the last turn. Draw again; the seed is still there."];
      throw Object.assign(new Error("cut"), { problem: { title: "The episode is not complete", lines } });
    }
  };

  const reason = (error) => {
    if (error.problem) return error.problem;
    if (error.name === "AbortError") return null;
    if (error.name === "TimeoutError") {
      return { title: "The service fell silent", lines: ["Nothing came for 90 seconds, so it was not waited for longer."] };
    }
    console.error(error);
    if (error instanceof SyntaxError) return { title: "The service's answer could not be read", lines: [error.message] };
    return rlrig.unreachable();
  };

  const busy = (yes) => {
    field("draw").disabled = yes;
    field("stop").disabled = !yes;
    field("lanes").setAttribute("aria-busy", String(yes));
  };

  const faulty = () => {
    const bad = [];
    if (!field("prompt").value.trim()) bad.push(["prompt", "Say what should be where."]);
    for (const [id, name] of [["seed", "Seed"], ["turns", "Turns"]]) {
      if (!field(id).checkValidity()) bad.push([id, `${name}: ${field(id).validationMessage}`]);
    }
    for (const id of ["prompt", "seed", "turns"]) field(id).removeAttribute("aria-invalid");
    for (const [id] of bad) field(id).setAttribute("aria-invalid", "true");
    if (bad.length) {
      field(bad[0][0]).focus();
      rlrig.showProblem(problem, { title: "The form is not complete", lines: bad.map(([, text]) => text) });
    }
    return bad.length > 0;
  };

  field("ask").addEventListener("submit", async (event) => {
    event.preventDefault();
    if (stop || faulty()) return;
    if (field("seed").value === "") field("seed").value = Math.floor(Math.random() * 2 ** 31);
    toAddress();
    problem.hidden = true;
    const both = field("compare").checked && !field("compare-label").hidden;
    const models = both ? Object.keys(MODELS) : ["rlrig"];
    const lanes = models.map((model) => new rlrig.Lane(both ? `${MODELS[model]} models` : "Episode"));
    field("lanes").replaceChildren(...lanes.map((lane) => lane.element));
    stop = new AbortController();
    busy(true);
    say("Asked. Waiting for the first image …");
    const began = Date.now();
    const clock = setInterval(() => {
      if (!field("lanes").querySelector(".turn")) say(`Waiting for the first image, ${Math.round((Date.now() - began) / 1000)} s …`);
    }, 5000);
    const results = await Promise.allSettled(models.map((model, k) => episode(model, lanes[k], stop)));
    clearInterval(clock);
    stop = null;
    busy(false);
    const failures = results.filter((result) => result.status === "rejected").map((result) => reason(result.reason));
    const told = failures.find((failure) => failure !== null);
    for (const lane of failures.length ? lanes : []) if (!lane.last) lane.element.remove();
    if (told) {
      rlrig.showProblem(problem, told);
      say("It did not come to its end.");
    } else if (failures.length) {
      say("Stopped.");
    } else {
      say(`Done. ${lanes.map((lane) => (both ? `${lane.element.ariaLabel}: ` : "") + lane.standing).join("; ")}.`);
    }
  });

  field("stop").addEventListener("click", () => stop && stop.abort());
  field("share").addEventListener("click", async () => {
    toAddress();
    try {
      await navigator.clipboard.writeText(location.href);
      say("The link was copied. It holds the scene, the seed and the turns.");
    } catch {
      say(`The browser does not let the page copy. The link is in the address bar: ${location.href}`);
    }
  });
  document.addEventListener("rlrig-token", () => {
    problem.hidden = true;
    offerComparison();
  });
  window.addEventListener("hashchange", fromAddress);
  fromAddress();
  offerComparison();
})();
