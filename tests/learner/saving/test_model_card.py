"""Model cards are in the hub's form, and the calls that they show give what the system itself gives."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import ModelCard
from PIL import Image

from actors.flux_model import FluxModel
from learner.config import LearnerConfig
from learner.flow_policy import FlowPolicy
from learner.saving.model_card import FILE, actor_card, editor_card, write_card
from learner.vlm_policy import VlmPolicy
from scenes.dialogue import parse_answer
from tests.places import TINY

MODELS = TINY / "models"
SMALL = sorted(path.name for path in MODELS.iterdir())
MOVE = "move red circle left of blue square"


def run_the_card(folder: Path, beside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Execute all Python of a card, in order, in a folder with the model and a picture."""
    if folder.parent != beside:
        (beside / folder.name).symlink_to(folder)
    blocks = re.findall(r"```python\n(.*?)```", (folder / FILE).read_text(), re.DOTALL)
    assert blocks
    monkeypatch.chdir(beside)
    exec("".join(blocks), {})


@pytest.fixture
def picture(tmp_path: Path) -> np.ndarray:
    (drawn,) = FluxModel(MODELS / "flux").draw(["red circle right of blue square"], [3])
    Image.fromarray(drawn).save(tmp_path / "picture.png")
    return drawn


def of_folder(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path)).astype(int)


@pytest.mark.parametrize("name", SMALL)
def test_each_small_model_has_a_card_whose_code_runs(name, picture, tmp_path, monkeypatch, capsys):
    card = ModelCard.load(MODELS / name / FILE)
    assert card.data.library_name == ("diffusers" if name == "flux" else "transformers")
    assert card.data.license == "apache-2.0"
    run_the_card(MODELS / name, tmp_path, monkeypatch)
    if name == "flux":
        model = FluxModel(MODELS / name)
        assert np.abs(of_folder(tmp_path / "edited.png") - model.edit([picture], [MOVE], [0])[0].image).max() <= 1
        (drawn,) = model.draw(["red circle left of blue square"], [0])
        assert np.abs(of_folder(tmp_path / "drawn.png") - drawn).max() <= 1
    elif name == "actor":
        assert parse_answer(capsys.readouterr().out).edit_prompt
    else:
        assert capsys.readouterr().out.strip() in ("yes", "no")


def test_an_exported_editors_card_has_the_runs_sizes_and_steps(picture, tmp_path, monkeypatch):
    settings = {"image_size": 64, "steps": 3, "max_sequence_length": 16}
    policy = FlowPolicy(MODELS / "flux", LearnerConfig(), **settings)
    (tmp_path / "editor").mkdir()
    policy.export(tmp_path / "editor")
    run_the_card(tmp_path / "editor", tmp_path, monkeypatch)
    (own,) = FluxModel(MODELS / "flux", **settings).edit([picture], [MOVE], [0])
    assert np.abs(of_folder(tmp_path / "edited.png") - own.image).max() <= 1
    card = ModelCard.load(tmp_path / "editor" / FILE)
    assert (card.data.pipeline_tag, card.data.base_model) == ("image-to-image", None)
    assert str(MODELS) not in card.content  # no path of this machine


@pytest.mark.parametrize("base", ["hub/base", TINY / "models" / "flux"])
def test_cards_of_rounded_weights_put_the_adapter_beside_the_base(base, tmp_path):
    model = FluxModel(TINY / "models" / "flux", image_size=64, steps=4)
    for card, loads in (
        (editor_card(model, "editor", base, 0.05), 'pipeline.load_lora_weights("editor/lora")'),
        (actor_card("actor", base, surviving=0.05), 'PeftModel.from_pretrained(model, "actor/lora")'),
    ):
        write_card(tmp_path, card)
        text = (tmp_path / FILE).read_text()
        assert "5% of what the adapter changed is left in the whole weights" in text
        (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
        assert loads in code
        assert ("hub/base" in code) == (base == "hub/base")
        assert str(TINY) not in code
        compile(code, "card", "exec")


def test_an_exported_actors_card_names_a_base_of_the_hub(tmp_path, monkeypatch, picture, capsys):
    policy = VlmPolicy(MODELS / "actor", LearnerConfig())
    monkeypatch.setattr(policy, "_base", "somebody/some-vlm")
    (tmp_path / "actor").mkdir()
    policy.export(tmp_path / "actor")
    assert ModelCard.load(tmp_path / "actor" / FILE).data.base_model == "somebody/some-vlm"
    run_the_card(tmp_path / "actor", tmp_path, monkeypatch)
    assert parse_answer(capsys.readouterr().out).edit_prompt
