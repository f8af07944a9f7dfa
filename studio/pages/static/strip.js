"use strict";
// Pictures to keep: the whole strip of an episode, or the grid of many seeds, drawn as one PNG.
(() => {
  const SIDE = 256;
  const GAP = 16;
  const LINE = 18;
  const [INK, YES, NO, SOFT] = ["#1d2329", "#1d7a4a", "#b3362b", "#59636d"];

  const load = (address) =>
    new Promise((done, fail) => {
      const image = new Image();
      image.onload = () => done(image);
      image.onerror = () => fail(new Error("an image cannot be drawn"));
      image.src = address;
    });

  const wrapped = (pen, text, width) => {
    const lines = [""];
    for (const word of text.split(/\s+/)) {
      const longer = `${lines.at(-1)} ${word}`.trim();
      if (lines.at(-1) && pen.measureText(longer).width > width) lines.push(word);
      else lines[lines.length - 1] = longer;
    }
    return lines;
  };

  /** A PNG address with one column for each of `columns`: an image, [text, colour] pairs above and below it. */
  const sheet = async (columns, across = columns.length) => {
    const images = await Promise.all(columns.map((one) => load(one.image)));
    const canvas = document.createElement("canvas");
    const pen = canvas.getContext("2d");
    pen.font = "13px sans-serif";
    const broken = (pairs) => pairs.flatMap(([text, colour]) => wrapped(pen, text, SIDE).map((line) => [line, colour]));
    const heads = columns.map((one) => broken(one.head));
    const feet = columns.map((one) => broken(one.foot));
    const above = Math.max(...heads.map((lines) => lines.length)) * LINE + 8;
    const high = above + SIDE + 8 + Math.max(...feet.map((lines) => lines.length)) * LINE + GAP;
    canvas.width = GAP + across * (SIDE + GAP);
    canvas.height = GAP + Math.ceil(columns.length / across) * high;
    pen.fillStyle = "#ffffff";
    pen.fillRect(0, 0, canvas.width, canvas.height);
    pen.font = "13px sans-serif";
    pen.imageSmoothingEnabled = false;
    columns.forEach((one, k) => {
      const left = GAP + (k % across) * (SIDE + GAP);
      const top = GAP + Math.floor(k / across) * high;
      const write = (lines, start) =>
        lines.forEach(([text, colour], row) => {
          pen.fillStyle = colour;
          pen.fillText(text, left, start + LINE * (row + 1) - 4);
        });
      write(heads[k], top);
      pen.fillStyle = one.holds ? YES : NO;
      pen.fillRect(left - 3, top + above - 3, SIDE + 6, SIDE + 6);
      pen.fillStyle = "#ffffff";
      pen.fillRect(left, top + above, SIDE, SIDE);
      const scale = SIDE / Math.max(images[k].width, images[k].height);
      const [width, height] = [images[k].width * scale, images[k].height * scale];
      pen.drawImage(images[k], left + (SIDE - width) / 2, top + above + (SIDE - height) / 2, width, height);
      write(feet[k], top + above + SIDE + 8);
    });
    return canvas.toDataURL("image/png");
  };

  const save = (address, name) => {
    const link = rlrig.make("a", { href: address, download: name });
    document.body.append(link);
    link.click();
    link.remove();
  };

  const holds = (turn) => turn.satisfaction.length > 0 && turn.satisfaction.every((p) => p >= 0.5);

  /** Save all turns of an episode side by side, with their texts. */
  rlrig.saveStrip = async (turns) => {
    const columns = turns
      .filter((turn) => turn.image)
      .map((turn) => ({
        image: turn.image,
        holds: holds(turn),
        head: [
          [turn.index === 0 ? "First image" : `Turn ${turn.index}${turn.kept ? "" : ", discarded"}`, SOFT],
          ...(turn.edit_prompt ? [[turn.edit_prompt, INK]] : []),
        ],
        foot: turn.requirements.map((text, k) => {
          const met = turn.satisfaction[k] >= 0.5;
          return [`${met ? "✓" : "✗"} ${text} ${turn.satisfaction[k].toFixed(2)}`, met ? YES : NO];
        }),
      }));
    save(await sheet(columns), "rlrig-strip.png");
  };

  /** Save the images of many seeds as a grid; `shown` are {seed, turn}. */
  rlrig.saveGrid = async (shown, title) => {
    const columns = shown.map(({ seed, turn }) => ({ image: turn.image, holds: holds(turn), head: [[`${title}, seed ${seed}`, SOFT]], foot: [] }));
    save(await sheet(columns, Math.min(4, columns.length)), "rlrig-grid.png");
  };
})();
