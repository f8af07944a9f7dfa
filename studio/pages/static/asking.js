"use strict";
// Requests for episodes: new images, or an image that is to be edited.
(() => {
  const MODELS = { rlrig: "Trained", "rlrig-raw": "Untrained" };

  /** What a person calls a model. */
  rlrig.modelName = (model) => MODELS[model] || model;

  const options = (asked, halt) => {
    const { image, ...fields } = asked;
    const headers = { Accept: "text/event-stream" };
    if (!image) {
      headers["Content-Type"] = "application/json";
      return { method: "POST", headers, body: JSON.stringify({ ...fields, stream: true }), signal: halt.signal };
    }
    const form = new FormData();
    for (const [name, value] of Object.entries({ ...fields, stream: true })) form.append(name, String(value));
    form.append("image", image, "image");
    return { method: "POST", headers, body: form, signal: halt.signal };
  };

  /** Ask for `asked.n` episodes. `lane` is told every turn, and each end; `item` is the number of an episode from
   * `first` on. Rejects with an error whose `problem` is for a person. */
  rlrig.askFor = async (asked, lane, halt, first = 0) => {
    const address = asked.image ? "/v1/images/edits" : "/v1/images/generations";
    const response = await rlrig.ask(address, options(asked, halt));
    if (!response.ok) throw Object.assign(new Error("refused"), { problem: await rlrig.problemIn(response) });
    let ended = 0;
    const heard = (event) => {
      if (event.error) throw Object.assign(new Error("failed"), { problem: rlrig.problemOf(500, event) });
      const image = `data:image/png;base64,${event.b64_json}`;
      const item = first + (event.item || 0);
      if (event.type.endsWith(".turn")) {
        lane.add({ ...event, image }, item);
      } else {
        ended += 1;
        lane.finish(item, image, event.rlrig);
      }
    };
    await rlrig.readEvents(response, heard, () => halt.abort(new DOMException("silence", "TimeoutError")));
    if (ended < asked.n) {
      const lines = ["The connection was cut before the last turn. Draw again; the seed is still there."];
      throw Object.assign(new Error("cut"), { problem: { title: "The episode is not complete", lines } });
    }
  };

  /** What a rejection of `askFor` means for a person; null where it was stopped. */
  rlrig.reasonOf = (error) => {
    if (error.problem) return error.problem;
    if (error.name === "AbortError") return null;
    if (error.name === "TimeoutError") {
      return { title: "The service fell silent", lines: ["Nothing came for 90 seconds, so it was not waited for longer."] };
    }
    console.error(error);
    if (error instanceof SyntaxError) return { title: "The service's answer could not be read", lines: [error.message] };
    return rlrig.unreachable();
  };
})();
