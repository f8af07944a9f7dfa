"use strict";
// What was drawn before, until the page is closed.
(() => {
  const MOST = 30;
  const section = document.getElementById("earlier");
  const list = section.querySelector("ol");
  const lanes = document.getElementById("lanes");

  /** Keep what is shown now; `show` is called when it is asked for again. */
  rlrig.remember = (image, title, holds, show) => {
    const nodes = [...lanes.children];
    const button = rlrig.make(
      "button",
      { type: "button", class: holds ? "yes" : "no", title },
      ...(image ? [rlrig.make("img", { src: image, alt: "Its image" })] : []),
      rlrig.make("span", {}, `${holds ? "✓" : "✗"} ${title}`),
    );
    button.addEventListener("click", () => {
      lanes.replaceChildren(...nodes);
      show();
    });
    list.prepend(rlrig.make("li", {}, button));
    while (list.children.length > MOST) list.lastChild.remove();
    section.hidden = false;
  };
})();
