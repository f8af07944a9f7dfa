"""Prompts that a user writes, as the prompts of a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from presets.choice.own_prompts import read_prompt, read_prompts, with_prompts, write_prompts
from presets.errors import BadInput
from presets.run_file import load_config
from rollout.prompts import load_prompts
from tests.places import PRESET

ONE, THREE = "red circle left of blue square", "; ".join(
    ["red circle left of blue square", "green star above red circle", "yellow triangle below blue square"]
)  # fmt: skip


def test_a_run_trains_on_them_and_holds_the_others_out(tmp_path: Path) -> None:
    config = load_config(PRESET)
    graphs = read_prompts(config, [ONE, THREE, ONE])
    assert [(graph.img_id, graph.prompt) for graph in graphs] == [("prompt-0", ONE), ("prompt-1", THREE)]
    own = with_prompts(config, graphs, tmp_path)
    assert own.data.relations == (1, 3)
    assert own.model_copy(update={"data": config.data}) == config
    write_prompts(graphs, [read_prompt(config, THREE), read_prompt(config, "purple star above red star")], tmp_path)
    prompts = load_prompts(own.data, own.seed)
    assert [graph.prompt for graph in prompts.train] == [ONE, THREE]
    assert [graph.prompt for graph in prompts.held_out] == ["purple star above red star"]


@pytest.mark.parametrize(
    ("prompt", "said"), [("red circle", "prompt: "), (f"{ONE}; blue square left of red circle", "left of")]
)
def test_what_is_no_prompt_is_refused(prompt: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        read_prompts(load_config(PRESET), [ONE, prompt])
