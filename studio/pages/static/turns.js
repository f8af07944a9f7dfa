"use strict";
// How the turns of an episode are shown, as they arrive or from a recording.
(() => {
  const { make } = rlrig;
  const HOLDS = 0.5;

  const chip = (text, probability, before) => {
    const holds = probability >= HOLDS;
    const turned = before !== null && before >= HOLDS !== holds;
    const words = `${turned ? "now " : ""}${holds ? "holds" : "does not hold"}: `;
    return make(
      "li",
      { class: `chip ${holds ? "yes" : "no"}${turned ? " turned" : ""}` },
      make("span", { "aria-hidden": "true" }, holds ? "✓" : "✗"),
      make("span", { class: "unseen" }, words),
      ` ${text} `,
      make("data", { value: probability }, probability.toFixed(2)),
    );
  };

  const texts = (turn) => {
    const list = make("dl");
    if (!turn.edit_prompt) {
      list.append(make("dt", {}, "failed: the answer could not be parsed"), make("dd", {}, turn.answer || "(empty)"));
    } else {
      list.append(make("dt", {}, "reflection"), make("dd", {}, turn.reflection || "–"));
      list.append(make("dt", {}, "edit prompt"), make("dd", {}, make("b", {}, turn.edit_prompt)));
    }
    return list;
  };

  /** A place for one episode. `name` is its heading, `lost` what is said of a turn that was not kept. */
  rlrig.Lane = class {
    constructor(name, lost = "discarded: no better") {
      this.lost = lost;
      this.shown = []; // the turns
      this.turns = make("ol", { class: "turns" });
      this.end = make("p", { class: "end" });
      this.mark = make("span");
      this.element = make("section", { class: "lane", "aria-label": name }, make("h2", {}, name, " ", this.mark), this.turns, this.end);
      this.last = null; // satisfaction of the image that the next turn starts from
    }

    /** Show one image; `turn` has index, image (an address), requirements, satisfaction, texts, kept. */
    add(turn) {
      const title = turn.index === 0 ? "First image" : `Turn ${turn.index}`;
      const wanted = turn.requirements.join("; ");
      const before = this.last;
      const chips = turn.satisfaction.map((p, k) => chip(turn.requirements[k], p, before ? before[k] : null));
      const note = turn.kept ? [] : [make("span", { class: "tag no" }, this.lost)];
      this.turns.append(
        make(
          "li",
          { class: `card turn${turn.kept ? "" : " lost"}` },
          make("h3", {}, title, " ", ...note),
          ...(turn.index > 0 ? [texts(turn)] : []),
          turn.image
            ? make("img", { class: "big", src: turn.image, alt: `${title}, asked for: ${wanted}` })
            : make("div", { class: "none big" }, turn.without || "the image cannot be read"),
          make("ul", { class: "chips" }, ...chips),
        ),
      );
      this.shown.push(turn);
      if (turn.kept || this.last === null) {
        this.last = turn.satisfaction;
        this.image = turn.image;
      }
    }

    /** Whether every requirement holds in the image that goes on; null where none was asked for. */
    get holds() {
      return this.last && this.last.length ? this.last.every((p) => p >= HOLDS) : null;
    }

    /** Say by its colour whether every requirement holds at the end. */
    judge() {
      if (this.holds === null) return;
      this.element.classList.add(this.holds ? "all" : "some");
      this.mark.className = `tag ${this.holds ? "yes" : "no"}`;
      this.mark.textContent = this.holds ? "✓ all hold" : "✗ not all hold";
    }

    /** How many requirements hold in the image that goes on, in words. */
    get standing() {
      const held = this.last.filter((p) => p >= HOLDS).length;
      return `${held} of ${this.last.length} requirements ${held === 1 ? "holds" : "hold"}`;
    }

    finish(image, versions, seconds, unread) {
      const parts = [`${this.standing} in the image that it ends with.`];
      const policies = Object.entries(versions || {}).map(([policy, version]) => `${policy} ${version}`);
      if (policies.length) parts.push(`Versions: ${policies.join(", ")}.`);
      const phases = Object.entries(seconds || {}).filter(([, value]) => value >= 0.005);
      if (phases.length) parts.push(`Seconds: ${phases.map(([n, v]) => `${n} ${v.toFixed(2)}`).join(", ")}.`);
      for (const one of unread || []) {
        parts.push(`The answer of turn ${one.turn} could not be read (${one.reason}): “${one.answer}”.`);
      }
      this.judge();
      this.end.replaceChildren(parts.join(" "), " ");
      if (image) this.end.append(make("a", { href: image, download: "rlrig.png" }, "Save the image"), " ");
      this.offer("Save the strip", () => rlrig.saveStrip(this.shown));
      if (image && rlrig.editNext) this.offer("Edit this image", () => rlrig.editNext(image));
    }

    offer(words, act) {
      const button = make("button", { type: "button", class: "link" }, words);
      button.addEventListener("click", act);
      this.end.append(button, " ");
    }
  };
})();
