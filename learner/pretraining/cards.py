"""What the small models say of themselves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from learner.saving.model_card import VLM_DATA, Card, actor_card, argument_lines, editor_card, vlm_call, write_card
from scenes.dialogue import checker_question
from scenes.scene_graph import Requirement

_MADE = (
    "`rlrig pretrain` made it from scratch, on drawn scenes of coloured shapes; docs/small_models.md says how well it "
    "does."
)
_WHAT = {
    "flux": "A small pipeline of FLUX's classes that draws shapes from a prompt, and moves one in a picture.",
    "actor": "A small VLM that looks at shapes, says which requirement is not met, and writes the edit prompt.",
    "checker": "A small VLM that says whether a requirement holds in a picture of shapes: yes or no.",
    "judge": "A small VLM like the Checker, from another seed and other data, for evaluations alone.",
    "weak-checker": "The small Checker with a flaw that policies can use, to show that a gamed reward is found.",
}
_DRAWS = """To draw, call it without a picture:

```python
drawn = pipeline(
    prompt="red circle left of blue square",
{arguments}
    generator=torch.Generator().manual_seed(0),
).images[0]
drawn.save("drawn.png")
```"""


def write_small_card(folder: Path) -> None:
    """Write the card of the small model in `folder`, whose name says which one it is."""
    name = folder.name
    if name == "flux":
        from actors.flux_model import FluxModel

        model = FluxModel(folder)
        card = editor_card(model, name, folder)
        card = replace(card, call=f"{card.call}\n\n{_DRAWS.format(arguments=argument_lines(model))}")
    elif name == "actor":
        card = actor_card(name, folder)
    else:
        card = Card(
            name, "", vlm_call(name, checker_question(Requirement("red circle", "left of", "blue square")), 4), VLM_DATA
        )
    what = f"{_WHAT[name]} {_MADE}"
    write_card(folder, replace(card, what=what, data={**card.data, "license": "apache-2.0"}))
