"use strict";
// Examples as small pictures of the scenes that they ask for, where the words are those of the shape world.
(() => {
  const COLOURS = { red: "#dc2828", green: "#28a03c", blue: "#2850dc", yellow: "#f0d228", purple: "#8c3cb4", orange: "#fa821e" };
  const SIDE = 64;
  const SVG = new DOMParser().parseFromString("<svg></svg>", "text/html").querySelector("svg").namespaceURI;
  const around = (count, radius) =>
    Array.from({ length: count }, (_, k) => {
      const angle = (2 * Math.PI * k) / count - Math.PI / 2;
      const far = Array.isArray(radius) ? radius[k % radius.length] : radius;
      return `${(far * Math.cos(angle)).toFixed(2)},${(far * Math.sin(angle)).toFixed(2)}`;
    }).join(" ");
  const OUTLINES = { triangle: around(3, 10), star: around(10, [10, 4.4]), square: "-8,-8 8,-8 8,8 -8,8" };
  // The axis along which the first object comes before the second one.
  const ORDERS = { "left of": ["x", 1], "right of": ["x", -1], above: ["y", 1], below: ["y", -1] };

  const parse = (scene) =>
    scene.split(";").map((part) => {
      const found = part.trim().match(/^(\w+ \w+) (left of|right of|above|below) (\w+ \w+)$/);
      return found && { subject: found[1], relation: found[2], object: found[3] };
    });

  /** Where each object lies: one step further for whatever must come later along an axis. */
  const places = (relations) => {
    const found = {};
    for (const { subject, object } of relations) for (const name of [subject, object]) found[name] = { x: 0, y: 0 };
    for (let round = 0; round < 8; round += 1) {
      for (const { subject, relation, object } of relations) {
        const [axis, way] = ORDERS[relation];
        const [first, second] = way > 0 ? [subject, object] : [object, subject];
        if (found[first][axis] >= found[second][axis]) found[second][axis] = found[first][axis] + 1;
      }
    }
    return found;
  };

  const shape = (name, at) => {
    const [colour, kind] = name.split(" ");
    const mark = document.createElementNS(SVG, kind === "circle" ? "circle" : "polygon");
    if (kind === "circle") mark.setAttribute("r", "8.5");
    else mark.setAttribute("points", OUTLINES[kind]);
    mark.setAttribute("fill", COLOURS[colour]);
    mark.setAttribute("transform", `translate(${at.x} ${at.y})`);
    return mark;
  };

  const picture = (scene) => {
    const relations = parse(scene);
    const known = (name) => COLOURS[name.split(" ")[0]] && ["circle", ...Object.keys(OUTLINES)].includes(name.split(" ")[1]);
    if (!relations.every((one) => one && known(one.subject) && known(one.object))) return null;
    const found = places(relations);
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("viewBox", `0 0 ${SIDE} ${SIDE}`);
    svg.setAttribute("aria-hidden", "true");
    const most = { x: 0, y: 0 };
    for (const at of Object.values(found)) for (const axis of ["x", "y"]) most[axis] = Math.max(most[axis], at[axis]);
    for (const [name, at] of Object.entries(found)) {
      const on = (axis) => (most[axis] ? 15 + (34 * at[axis]) / most[axis] : 32);
      svg.append(shape(name, { x: on("x"), y: on("y") }));
    }
    return svg;
  };

  for (const button of document.querySelectorAll(".example")) {
    const drawn = picture(button.textContent.trim());
    if (drawn) button.prepend(drawn);
    button.addEventListener("click", () => {
      const prompt = document.getElementById("prompt");
      prompt.value = button.textContent.trim();
      rlrig.showParts();
      prompt.focus();
    });
  }
})();
