"use strict";
(() => {
  const BOTH = ["rlrig", "rlrig-raw"];
  const ADDRESSED = { prompt: "prompt", seed: "seed", turns: "turns", n: "count" };
  const field = (id) => document.getElementById(id);
  const status = field("status");
  const problem = field("problem");
  const limits = field("studio").dataset;
  let stop = null;
  let source = null; // an image to edit, a Blob

  const say = (text, holds = null) => {
    status.textContent = text;
    status.classList.toggle("yes", holds === true);
    status.classList.toggle("no", holds === false);
  };

  // The address holds what was asked for, behind #, which no server sees.
  const toAddress = () => {
    const values = new URLSearchParams();
    for (const [name, id] of Object.entries(ADDRESSED)) if (id === "prompt" || field(id).value !== "") values.set(name, field(id).value);
    if (field("compare").checked) values.set("compare", "1");
    history.replaceState(null, "", `#${values}`);
  };
  const fromAddress = () => {
    const values = new URLSearchParams(location.hash.slice(1));
    for (const [name, id] of Object.entries(ADDRESSED)) if (values.has(name)) field(id).value = values.get(name);
    field("compare").checked = values.get("compare") === "1";
    rlrig.showParts();
    if (values.has("prompt")) say("This scene came with the link. Draw makes it again.");
  };

  const offerModels = async () => {
    try {
      const response = await rlrig.ask("/v1/models");
      if (!response.ok) {
        if (response.status === 401) rlrig.showProblem(problem, await rlrig.problemIn(response));
        return;
      }
      const names = (await response.json()).data.map((model) => model.id);
      const chosen = field("model").value;
      field("model").replaceChildren(...names.map((name) => rlrig.make("option", { value: name }, rlrig.modelName(name))));
      if (names.includes(chosen)) field("model").value = chosen;
      field("model-field").hidden = names.length < 2;
      field("compare-label").hidden = !BOTH.every((name) => names.includes(name));
    } catch {
      rlrig.showProblem(problem, rlrig.unreachable());
    }
  };

  const useSource = (blob, name) => {
    source = blob;
    field("source").hidden = !blob;
    field("source").firstElementChild.textContent = blob ? `${name} is edited.` : "";
    if (!blob) field("image").value = "";
    field("draw").textContent = blob ? "Edit" : "Draw";
  };
  rlrig.editNext = (image) => {
    const bytes = Uint8Array.from(atob(image.split(",")[1]), (letter) => letter.charCodeAt(0));
    useSource(new Blob([bytes], { type: "image/png" }), "The last image");
    say("The image is taken as it is. Say what should be where in it, then press Edit.");
    field("prompt").focus();
  };

  const busy = (yes) => {
    field("draw").disabled = yes;
    field("another").disabled = yes;
    field("stop").disabled = !yes;
    field("lanes").setAttribute("aria-busy", String(yes));
    field("progress").hidden = !yes;
  };

  const faulty = () => {
    const bad = [];
    if (!field("prompt").value.trim()) bad.push(["prompt", "Say what should be where."]);
    for (const [id, name] of [["seed", "Seed"], ["turns", "Turns"], ["count", "How many"]]) {
      if (!field(id).checkValidity()) bad.push([id, `${name}: ${field(id).validationMessage}`]);
    }
    for (const id of ["prompt", "seed", "turns", "count"]) field(id).removeAttribute("aria-invalid");
    for (const [id] of bad) field(id).setAttribute("aria-invalid", "true");
    if (bad.length) {
      const first = field(bad[0][0]);
      if (first.closest("details")) first.closest("details").open = true;
      first.focus();
      rlrig.showProblem(problem, { title: "The form is not complete", lines: bad.map(([, text]) => text) });
    }
    return bad.length > 0;
  };

  /** Tells a lane what comes, and how many of the turns that may come are there. */
  const listener = (lane, model, many, left) => ({
    add: (turn, item) => {
      left[item] = Math.max(0, left[item] - 1);
      lane.add(turn, item);
      const name = rlrig.modelName(model);
      if (many) {
        say(`${name}: every requirement holds in ${lane.standing} so far.`);
      } else {
        const what = turn.index === 0 ? "The first image is there" : `Turn ${turn.index} is there${turn.kept ? "" : `, ${lane.lost}`}`;
        say(`${name}: ${what}: ${lane.standing}.`);
      }
    },
    finish: (item, image, told) => {
      left[item] = 0;
      if (many) lane.finish(item);
      else lane.finish(image, told.versions, told.seconds, told.unread);
    },
  });

  const atTurn = (lanes, most) => {
    const bar = field("at-turn");
    const tell = () => {
      const whole = Number(bar.value) >= most;
      for (const lane of lanes) lane.showTurn(whole ? Infinity : Number(bar.value));
      bar.nextElementSibling.textContent = whole ? "the last one" : bar.value === "0" ? "0, the first image" : bar.value;
      const told = lanes.map((lane) => `${lane.name.toLowerCase()} ${lane.standing}`).join(", ");
      say(`${whole ? "Done" : `After turn ${bar.value}`}. Every requirement holds in: ${told}.`);
    };
    bar.max = most;
    bar.value = most;
    bar.oninput = tell;
    field("turn-bar").hidden = most < 1;
    tell();
  };

  const judged = (lanes, both) => {
    const text = `Done. ${lanes.map((lane) => (both ? `${lane.element.ariaLabel}: ` : "") + lane.standing).join("; ")}.`;
    say(text, lanes[0].holds);
  };

  const draw = async () => {
    if (field("seed").value === "") field("seed").value = Math.floor(Math.random() * 2 ** 31);
    toAddress();
    problem.hidden = field("turn-bar").hidden = true;
    const both = field("compare").checked && !field("compare-label").hidden;
    const models = both ? BOTH : [field("model").value];
    const [count, seed] = [Number(field("count").value) || 1, Number(field("seed").value)];
    const turns = Number(field("turns").value || limits.turns);
    const asked = { prompt: field("prompt").value.trim(), ...(source ? { image: source } : {}) };
    if (field("turns").value !== "") asked.turns = turns;
    const many = count > 1;
    const named = (model) => (many ? rlrig.modelName(model) : both ? `${rlrig.modelName(model)} models` : "Episode");
    const lanes = models.map((model) => (many ? new rlrig.Seeds(named(model), count, seed) : new rlrig.Lane(named(model))));
    field("lanes").replaceChildren(...lanes.map((lane) => lane.element));
    stop = new AbortController();
    busy(true);
    say("Asked. Waiting for the first image …");
    const left = models.map(() => Array(count).fill(turns + 1));
    const began = Date.now();
    const clock = setInterval(() => {
      const [all, open] = [models.length * count * (turns + 1), left.flat().reduce((sum, one) => sum + one, 0)];
      field("progress").max = all;
      field("progress").value = all - open;
      if (open === all && Date.now() - began > 5000) say(`Waiting for the first image, ${Math.round((Date.now() - began) / 1000)} s …`);
    }, 500);
    const requests = models.flatMap((model, k) => {
      const heard = listener(lanes[k], model, many, left[k]);
      const parts = [];
      for (let first = 0; first < count; first += Number(limits.most)) parts.push(first);
      return parts.map((first) => {
        const n = Math.min(Number(limits.most), count - first);
        return rlrig.askFor({ ...asked, model, seed: seed + first, n }, heard, stop, first);
      });
    });
    const results = await Promise.allSettled(requests);
    clearInterval(clock);
    stop = null;
    busy(false);
    const failures = results.filter((result) => result.status === "rejected").map((result) => rlrig.reasonOf(result.reason));
    const told = failures.find((failure) => failure !== null);
    for (const lane of failures.length ? lanes : []) if (!lane.last) lane.element.remove();
    if (told) {
      rlrig.showProblem(problem, told);
      say("It did not come to its end.");
    } else if (failures.length) {
      say("Stopped.");
    } else {
      const most = many ? Math.max(...lanes.flatMap((lane) => lane.turns.flat().map((turn) => turn.index))) : 0;
      const show = () => {
        field("turn-bar").hidden = true;
        if (many) atTurn(lanes, most);
        else judged(lanes, both);
      };
      show();
      const result = many ? lanes.map((lane) => `${lane.name.toLowerCase()} ${lane.standing}`).join(", ") : lanes[0].standing;
      rlrig.remember(lanes[0].image, `${asked.prompt}, seed ${seed}: ${result}`, lanes[0].holds, show);
    }
  };

  field("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    if (!stop && !faulty()) draw();
  });
  field("another").addEventListener("click", () => {
    field("seed").value = "";
    field("ask").requestSubmit();
  });
  field("prompt").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      field("ask").requestSubmit();
    }
  });
  field("stop").addEventListener("click", () => stop && stop.abort());
  field("image").addEventListener("change", () => {
    const [file] = field("image").files;
    useSource(file || null, file ? file.name : "");
  });
  field("no-source").addEventListener("click", () => useSource(null, ""));
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
    offerModels();
  });
  window.addEventListener("hashchange", fromAddress);
  field("another").disabled = false;
  fromAddress();
  offerModels();
})();
