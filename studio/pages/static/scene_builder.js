"use strict";
// The parts of the scene as chips, beside the text that they are made of.
(() => {
  const prompt = document.getElementById("prompt");
  const parts = document.getElementById("parts");
  const field = (id) => document.getElementById(id);
  const free = field("relation").localName === "input"; // any relation is taken, and only the service knows what it reads
  const split = () => prompt.value.split(";").map((part) => part.trim()).filter(Boolean);

  /** Show the parts of the scene; `kinds` says of each what kind of requirement it is, where that is known. */
  rlrig.showParts = (kinds = []) => {
    const relations = free ? [] : [...field("relation").options].map((option) => option.value);
    parts.replaceChildren(
      ...split().map((part, index) => {
        const read = free || relations.some((relation) => part.toLowerCase().includes(` ${relation} `));
        const remove = rlrig.make("button", { type: "button", "aria-label": `Remove: ${part}` }, "×");
        remove.addEventListener("click", () => {
          const left = split().filter((_, place) => place !== index);
          prompt.value = left.join("; ");
          rlrig.showParts();
          (parts.querySelectorAll("button")[Math.min(index, left.length - 1)] || prompt).focus();
        });
        const kind = kinds[index] ? [rlrig.make("span", { class: "kind" }, kinds[index])] : [];
        return rlrig.make("li", { class: `part${read ? "" : " free"}` }, ...kind, part, remove);
      }),
    );
  };

  field("add").addEventListener("click", () => {
    for (const id of ["subject", "relation", "object"]) {
      const empty = !field(id).value.trim();
      field(id).toggleAttribute("aria-invalid", empty);
      if (empty) {
        field(id).focus();
        return;
      }
    }
    const [subject, relation, object] = ["subject", "relation", "object"].map((id) => field(id).value.trim());
    // Brackets tell any relation from the words around it.
    prompt.value = [...split(), `${subject} ${free ? `[${relation}]` : relation} ${object}`].join("; ");
    field("subject").value = field("object").value = "";
    if (free) field("relation").value = "";
    rlrig.showParts();
    field("subject").focus();
  });
  for (const id of free ? ["subject", "relation", "object"] : ["subject", "object"]) {
    field(id).addEventListener("keydown", (event) => {
      if (event.key === "Enter") {
        event.preventDefault();
        field("add").click();
      }
    });
  }
  prompt.addEventListener("input", () => rlrig.showParts());
})();
