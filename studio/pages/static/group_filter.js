"use strict";
// The filter of a page of groups that is a file: it hides what does not pass.
(() => {
  const form = document.getElementById("filter");
  const groups = [...document.querySelectorAll(".group")];
  const count = document.getElementById("count");
  if (!form || !count) return;
  const before = count.textContent.split(" · ")[0];
  const apply = () => {
    const wanted = new FormData(form);
    for (const group of groups) {
      group.hidden =
        (wanted.get("turn") !== "all" && wanted.get("turn") !== group.dataset.turn) ||
        (wanted.has("failed") && !("failed" in group.dataset)) ||
        (wanted.has("dropped") && !("dropped" in group.dataset));
    }
    count.textContent = `${before} · ${groups.filter((group) => !group.hidden).length} of ${groups.length} groups`;
  };
  form.addEventListener("change", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
})();
