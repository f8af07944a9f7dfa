"""Prompts that a user writes: read for the models of a run, and trained on in the place of those of `data`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from presets.errors import BadInput
from presets.truth.source import EXACT
from scenes.laion_sg import write_records

if TYPE_CHECKING:
    from presets.run_config import RunConfig
    from scenes.scene_graph import SceneGraph

_FOLDER = "prompts"


def read_prompt(config: RunConfig, text: str) -> SceneGraph:
    """The scene graph that a prompt asks the models of a run for.

    Raises:
        BadInput: a part is no requirement, or the requirements cannot hold together.
    """
    try:
        return config.vocabulary.read(text)
    except ValueError as error:
        raise BadInput(str(error)) from error


def read_prompts(config: RunConfig, texts: Sequence[str]) -> list[SceneGraph]:
    """The scene graph of each prompt, `prompt-0` and so on. A prompt that stands there twice is one. Raises as
    `read_prompt`."""
    return [replace(read_prompt(config, text), img_id=f"prompt-{k}") for k, text in enumerate(dict.fromkeys(texts))]


def with_prompts(config: RunConfig, graphs: Sequence[SceneGraph], run: Path) -> RunConfig:
    """The configuration of a run that trains on these scene graphs, which `write_prompts` writes into its folder."""
    counts = [len(graph.requirements) for graph in graphs]
    data = {
        "source": "laion_sg",
        "path": str((run / _FOLDER).resolve()),
        "relations": [min(*counts, config.data.relations[0]), max(*counts, config.data.relations[1])],
        "train_size": len(graphs),
        "held_out_size": config.data.held_out_size,
        "truth": None if config.data.truth == EXACT else config.data.truth,
    }
    return type(config).model_validate(config.model_dump(mode="json") | {"data": data})


def write_prompts(train: Sequence[SceneGraph], held_out: Sequence[SceneGraph], run: Path) -> None:
    """Write the records that `with_prompts` names. What is trained on is not held out."""
    (run / _FOLDER).mkdir(exist_ok=True)
    asked = {graph.prompt for graph in train}
    write_records(train, run / _FOLDER / "train.jsonl")
    write_records([graph for graph in held_out if graph.prompt not in asked], run / _FOLDER / "test.jsonl")
