"use strict";
// Studio as a file: plays episodes that lie in the page.
(() => {
  const STEP_MS = matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 900;
  const episodes = JSON.parse(document.getElementById("episodes").textContent);
  const which = document.getElementById("which");
  const status = document.getElementById("status");
  let playing = 0;

  which.append(...episodes.map((one, k) => rlrig.make("option", { value: k }, one.name)));
  document.getElementById("recorded").addEventListener("submit", async (event) => {
    event.preventDefault();
    const episode = episodes[which.value];
    if (!episode) return;
    const mine = ++playing;
    const lane = new rlrig.Lane(episode.name, episode.lost);
    document.getElementById("lanes").replaceChildren(lane.element);
    for (const turn of episode.turns) {
      if (turn.index > 0) await new Promise((done) => setTimeout(done, STEP_MS));
      if (mine !== playing) return;
      lane.add(turn);
      const lost = turn.kept ? "" : `, ${lane.lost}`;
      status.textContent = `${turn.index === 0 ? "First image" : `Turn ${turn.index}${lost}`}: ${lane.standing}.`;
    }
    lane.judge();
    lane.end.textContent = "The recording ends here. ";
    if (lane.shown.some((turn) => turn.image)) lane.offer("Save the strip", () => rlrig.saveStrip(lane.shown));
  });
  if (!episodes.length) document.querySelector("#recorded button").disabled = true;
})();
