"use strict";
// Several seeds of one scene as a grid, at any turn.
(() => {
  const { make } = rlrig;
  const HOLDS = 0.5;
  const holds = (turn) => turn.satisfaction.length > 0 && turn.satisfaction.every((p) => p >= HOLDS);

  /** A place for `count` episodes from `seed` on. It takes turns as `rlrig.Lane` does, with the number of the episode. */
  rlrig.Seeds = class {
    constructor(name, count, seed) {
      this.name = name;
      this.seed = seed;
      this.turns = Array.from({ length: count }, () => []);
      this.ended = new Set();
      this.at = Infinity; // the turn that is shown
      this.open = null; // the episode that is shown whole
      this.heading = make("h2", {}, name);
      this.cells = this.turns.map((_, item) => {
        const cell = make("button", { type: "button", class: "seed", "aria-expanded": "false" }, make("span", { class: "none" }, "…"), make("span", {}, `seed ${seed + item}`));
        cell.addEventListener("click", () => this.unfold(item));
        return cell;
      });
      this.whole = make("div");
      const save = make("button", { type: "button" }, "Save the grid");
      save.addEventListener("click", () => rlrig.saveGrid(this.shown, this.name));
      this.element = make("section", { class: "lane", "aria-label": name }, this.heading, make("div", { class: "seeds" }, ...this.cells), make("div", { class: "buttons" }, save), this.whole);
    }

    /** The turn of an episode whose image goes on after the turn that is shown. */
    turnOf(item) {
      const known = this.turns[item].filter((turn) => turn.index <= this.at);
      return known.findLast((turn) => turn.kept) || known[0] || null;
    }

    get shown() {
      return this.turns.map((_, item) => ({ seed: this.seed + item, turn: this.turnOf(item) })).filter(({ turn }) => turn);
    }

    /** In how many episodes every requirement holds after the turn that is shown. */
    get held() {
      return this.shown.filter(({ turn }) => holds(turn)).length;
    }

    get standing() {
      return `${this.held} of ${this.turns.length}`;
    }

    get last() {
      return this.shown.length ? this.shown[0].turn.satisfaction : null;
    }

    get image() {
      return this.shown.length ? this.shown[0].turn.image : null;
    }

    get holds() {
      return this.held === this.turns.length;
    }

    add(turn, item) {
      this.turns[item].push(turn);
      this.show(item);
    }

    finish(item) {
      this.ended.add(item);
      this.show(item);
    }

    showTurn(at) {
      this.at = at;
      this.cells.forEach((_, item) => this.show(item));
    }

    show(item) {
      const turn = this.turnOf(item);
      this.heading.replaceChildren(`${this.name}: ${this.standing}`);
      if (!turn) return;
      const cell = this.cells[item];
      const all = holds(turn);
      const words = all ? "every requirement holds" : `${turn.satisfaction.filter((p) => p >= HOLDS).length} of ${turn.satisfaction.length} hold`;
      cell.classList.toggle("yes", all);
      cell.classList.toggle("no", !all && (this.ended.has(item) || this.at < Infinity));
      const alt = `Seed ${this.seed + item}, turn ${turn.index}: ${words}`;
      cell.replaceChildren(make("img", { src: turn.image, alt }), make("span", {}, `${all ? "✓" : this.ended.has(item) ? "✗" : "…"} seed ${this.seed + item}`));
      if (this.open === item) this.fill(item);
    }

    unfold(item) {
      this.open = this.open === item ? null : item;
      this.cells.forEach((cell, k) => cell.setAttribute("aria-expanded", String(k === this.open)));
      if (this.open === null) this.whole.replaceChildren();
      else this.fill(item);
    }

    fill(item) {
      const lane = new rlrig.Lane(`${this.name}, seed ${this.seed + item}`);
      for (const turn of this.turns[item]) lane.add(turn);
      if (this.ended.has(item) && lane.last) lane.finish(this.turnOf(item).image);
      this.whole.replaceChildren(lane.element);
    }
  };
})();
