"""What a model folder says of itself: a model card in the hub's form, with the call that gives what the run gives.

A pipeline's own defaults are made for another model: `FluxKontextPipeline` resizes every picture to about 1024 × 1024
pixels. So the card carries the whole call, as Python that runs where the folder lies.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huggingface_hub import ModelCard, ModelCardData

from scenes.dialogue import edit_prompt
from scenes.dialogues.dialogue import SHAPES, Dialogue
from scenes.scene_graph import Requirement
from serving.generation import messages
from weights.adapter import LEAST_SURVIVING

if TYPE_CHECKING:
    from actors.image_model import ImageModel

FILE = "README.md"
VLM_DATA = {"library_name": "transformers", "pipeline_tag": "image-text-to-text"}
_TOKENS = 48  # of an answer
_MOVE = ("red circle", "left of", "blue square")
_BODY = """---
{{ card_data }}
---

# {{ name }}

{{ what }}

{{ call }}

"""
_PIPELINE = """Run this beside the folder; `picture.png` is any picture.

```python
import torch
from diffusers import {kind}
from PIL import Image

{load}
edited = pipeline(
    image=Image.open("picture.png").convert("RGB").resize(({width}, {height})),
    prompt="{prompt}",
{arguments}
    generator=torch.Generator().manual_seed(0),
).images[0]
edited.save("edited.png")
```

All of these arguments matter: without them the pipeline takes the sizes and steps of another model."""
_LOAD_VLM = 'model = AutoModelForImageTextToText.from_pretrained("{name}")'
_ADAPT_VLM = """base = {base}
model = AutoModelForImageTextToText.from_pretrained(base)
model = PeftModel.from_pretrained(model, "{name}/lora")"""
_ADAPT_PIPELINE = """base = {base}
pipeline = {kind}.from_pretrained(base)
pipeline.load_lora_weights("{name}/lora")"""
_UNNAMED = '"base"  # the folder of the model that the run started from'
_ROUNDED = (
    "\n\n{share:.0%} of what the adapter changed is left in the whole weights of this folder: their number format "
    "rounds small changes away. `lora/` holds all of it, so the call below puts it beside the base model."
)
_VLM = """Run this beside the folder; `picture.png` is any picture.

```python
{imports}from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

processor = AutoProcessor.from_pretrained("{name}")
{load}
messages = {messages}
text = processor.apply_chat_template(messages, add_generation_prompt=True)
inputs = processor(text=[text], images=[[Image.open("picture.png").convert("RGB")]], return_tensors="pt")
made = model.generate(**inputs, max_new_tokens={tokens}, do_sample=False)
print(processor.tokenizer.decode(made[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))
```"""


@dataclass(frozen=True)
class Card:
    """Of the model in a folder that is called `name`.

    Attributes:
        what: a paragraph: what the model is, and where it comes from.
        call: how it is used, in Markdown.
        data: the hub's metadata: `library_name`, `pipeline_tag`, …
        base: the model that it was trained from, a folder or a hub id.
    """

    name: str
    what: str
    call: str
    data: Mapping[str, Any]
    base: str | Path | None = None


def write_card(folder: Path, card: Card) -> None:
    """Write the card into the folder of its model. A base model that is a folder of this machine is not named."""
    base = None if card.base is None or Path(card.base).exists() else str(card.base)
    data = ModelCardData(**card.data, base_model=base, tags=["reinforcement-learning", "rl-rig"])
    texts = {"name": card.name, "what": card.what, "call": card.call}
    ModelCard.from_template(data, template_str=_BODY, **texts).save(folder / FILE)


def argument_lines(model: ImageModel) -> str:
    """The arguments of a plain call of the model's pipeline, a line for each."""
    given = {**(model.call_arguments or {}), "num_inference_steps": model.steps}
    return "\n".join(f"    {key}={value!r}," for key, value in given.items())


def editor_card(model: ImageModel, name: str, base: str | Path, surviving: float | None = None) -> Card:
    """Of an Inverse Diffuser as a run exports it; `surviving` is the share of an adapter's change that its whole
    weights hold."""
    kind = type(model.pipe).__name__
    call = (
        "No call of the pipeline alone edits as the run did; RL-RIG loads it with `actors.model_families.load_editor`."
    )
    if model.call_arguments is not None:
        lines, prompt = argument_lines(model), edit_prompt(*_MOVE)
        load = f'pipeline = {kind}.from_pretrained("{name}")'
        if _is_rounded(surviving):
            load = _ADAPT_PIPELINE.format(kind=kind, name=name, base=_named(base))
        call = _PIPELINE.format(kind=kind, load=load, prompt=prompt, **model.size.sides, arguments=lines)
    what = (
        "The Inverse Diffuser of an RL-RIG run: it edits a picture as a prompt asks. Flow-GRPO trained its "
        "transformer; its other parts are the base model's."
    )
    what += _rounded(surviving)
    return Card(name, what, call, {"library_name": "diffusers", "pipeline_tag": "image-to-image"}, base)


def actor_card(
    name: str,
    base: str | Path,
    dialogue: Dialogue = SHAPES,
    system: str | None = None,
    surviving: float | None = None,
) -> Card:
    """Of an Actor as a run exports it, which is asked in this dialogue after this system prompt; `surviving` as in
    `editor_card`."""
    what = (
        "The Actor of an RL-RIG run: it looks at a picture, says which requirement is not met, and writes the edit "
        "prompt. GRPO trained it."
    )
    what += _rounded(surviving)
    requirement = (Requirement(*_MOVE),)
    adapted = _named(base) if _is_rounded(surviving) else None
    call = vlm_call(name, dialogue.request(requirement, requirement), _TOKENS, system, adapted)
    return Card(name, what, call, VLM_DATA, base)


def vlm_call(name: str, question: str, tokens: int, system: str | None = None, adapted: str | None = None) -> str:
    """How a VLM in the folder `name` answers a question about a picture with at most so many tokens, in Markdown; where
    `adapted` is the base model, as Python, with the adapter in the folder's `lora`."""
    said = json.dumps(messages(question, system), indent=4, ensure_ascii=False)  # it is Python, too
    load, imports = _LOAD_VLM.format(name=name), ""
    if adapted is not None:
        load, imports = _ADAPT_VLM.format(name=name, base=adapted), "from peft import PeftModel\n"
    return _VLM.format(name=name, messages=said, tokens=tokens, load=load, imports=imports)


def _is_rounded(surviving: float | None) -> bool:
    return surviving is not None and surviving < LEAST_SURVIVING


def _rounded(surviving: float | None) -> str:
    return _ROUNDED.format(share=surviving) if _is_rounded(surviving) else ""


def _named(base: str | Path) -> str:
    """The base model as Python; a folder of this machine is not named."""
    return _UNNAMED if Path(base).exists() else repr(str(base))
