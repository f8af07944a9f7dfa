"use strict";
// Curves: the values of the update that is pointed at, and lines that are smoothed over several updates.
(() => {
  const KEPT = "rlrig-smoothing";
  const tip = rlrig.make("div", { class: "tip", "aria-hidden": "true", hidden: "" });
  document.body.append(tip);

  const hide = () => {
    tip.hidden = true;
  };
  const point = (event) => {
    const strip = event.target.closest ? event.target.closest("svg .hit") : null;
    if (!strip) {
      hide();
      return;
    }
    const title = strip.querySelector("title");
    if (title) {
      strip.dataset.values = title.textContent; // the browser's own tip would lie over this one
      title.remove();
    }
    tip.replaceChildren(...strip.dataset.values.split(/; |(?<=^update [^:]*): /).map((line) => rlrig.make("div", {}, line)));
    tip.hidden = false;
    const left = Math.min(event.clientX + 14, document.documentElement.clientWidth - tip.offsetWidth - 6);
    tip.style.left = `${Math.max(6, left)}px`;
    tip.style.top = `${Math.max(6, event.clientY - tip.offsetHeight - 12)}px`;
  };
  for (const kind of ["pointermove", "pointerdown"]) document.addEventListener(kind, point);
  document.addEventListener("pointerleave", hide);
  document.addEventListener("scroll", hide, { passive: true });

  /** Moving means of the heights, of points between the same two of `cuts`: where another policy begins to train. */
  const means = (points, many, cuts) => {
    const half = Math.floor(many / 2);
    const stretch = (x) => cuts.filter((cut) => cut < x).length;
    return points.map(([x], k) => {
      const near = points.slice(Math.max(0, k - half), k + half + 1).filter(([other]) => stretch(other) === stretch(x));
      return [x, near.reduce((sum, [, y]) => sum + y, 0) / near.length];
    });
  };

  /** Draw over every line its moving mean. On a logarithmic axis that is the mean of the logarithms. */
  const smooth = () => {
    const choice = document.getElementById("smooth");
    if (!choice) return;
    const many = Number(choice.value);
    for (const chart of document.querySelectorAll("svg.chart")) {
      for (const old of chart.querySelectorAll(".smooth")) old.remove();
      chart.classList.toggle("smoothed", many > 1);
      if (many <= 1) continue;
      const cuts = [...chart.querySelectorAll("line.stage")].map((line) => Number(line.getAttribute("x1")));
      for (const line of chart.querySelectorAll("polyline")) {
        const points = line.getAttribute("points").split(" ").map((pair) => pair.split(",").map(Number));
        const drawn = line.cloneNode();
        drawn.classList.add("smooth");
        drawn.setAttribute("points", means(points, many, cuts).map((pair) => pair.map((v) => v.toFixed(1)).join(",")).join(" "));
        line.after(drawn);
      }
    }
  };

  const begin = () => {
    const choice = document.getElementById("smooth");
    if (choice && !choice.dataset.begun) {
      choice.dataset.begun = "1";
      const kept = sessionStorage.getItem(KEPT);
      if (kept && [...choice.options].some((one) => one.value === kept)) choice.value = kept;
      choice.addEventListener("change", () => {
        sessionStorage.setItem(KEPT, choice.value);
        smooth();
      });
    }
    smooth();
  };
  document.addEventListener("rlrig-shown", begin);
  begin();
})();
