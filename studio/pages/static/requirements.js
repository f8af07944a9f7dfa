"use strict";
// What a prompt requires, as the service reads it, before anything is drawn.
(() => {
  const field = (id) => document.getElementById(id);
  const tell = (title, lines) => rlrig.showProblem(field("problem"), { title, lines });

  const read = async () => {
    const prompt = field("prompt").value.trim();
    if (!prompt) return field("prompt").focus();
    field("read").disabled = true;
    field("status").textContent = "Reading the scene …";
    try {
      const headers = { "Content-Type": "application/json" };
      const response = await rlrig.ask("/v1/requirements", { method: "POST", headers, body: JSON.stringify({ prompt }) });
      if (!response.ok) {
        rlrig.showProblem(field("problem"), await rlrig.problemIn(response));
        field("status").textContent = "The scene could not be read.";
        return;
      }
      const told = await response.json();
      field("problem").hidden = true;
      field("prompt").value = told.prompt;
      rlrig.showParts(told.requirements.map((one) => one.kind));
      const left = told.unused.map((one) => `“${one.text}”: ${one.reason}`);
      if (left.length) tell("Some of it is not required", left);
      const count = told.requirements.length;
      field("status").textContent = `${count} requirement${count === 1 ? " was" : "s were"} read. Nothing was drawn yet; change them, or draw.`;
    } catch (error) {
      rlrig.showProblem(field("problem"), rlrig.reasonOf(error));
    } finally {
      field("read").disabled = false;
    }
  };
  field("read").addEventListener("click", read);
})();
