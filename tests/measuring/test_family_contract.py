"""What families of editors promise: the known ones keep it, and each kind of broken one is found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from actors.flux_model import FluxConditioning, FluxModel
from learner.config import LearnerConfig
from measuring.family_contract import try_family
from scenes.pictures.size import PictureSize
from tests.tiny_families import EDITORS, SIZE, WIDE

WHAT = [
    "a sample does not depend on its batch",
    "image and prompt matter",
    "rows of a conditioning are its samples",
    "the learner finds the rollout's log-probabilities",
    "each image of an edit matters, and the learner sees it",
    "a step of training changes the policy",
    "an exported model computes the same",
]


class Deaf(FluxModel):
    """Hears nothing of the prompt."""

    def _prompt_embeds(self, prompts: Any) -> Any:
        return super()._prompt_embeds([""] * len(prompts))


class Restless(FluxModel):
    """Gives each call its own noise."""

    calls = 0

    def _call(self, prompts: Any, seeds: Any, steps: int, **kwargs: Any) -> np.ndarray:
        self.calls += 1
        return super()._call(prompts, [seed + self.calls for seed in seeds], steps, **kwargs)


class Half(FluxModel):
    """Tells the learner of another guidance than the sampler's."""

    def _condition(self, images: Any, prompts: Any) -> FluxConditioning:
        found = super()._condition(images, prompts)
        return FluxConditioning(**{**vars(found), "guidance": 1.0})


class Mixed(FluxConditioning):
    def take(self, rows: Any) -> FluxConditioning:
        return super().take(sorted(rows) if isinstance(rows, list) else rows)


class Shuffled(FluxModel):
    """Its conditioning gives other rows than it is asked for."""

    def _condition(self, images: Any, prompts: Any) -> FluxConditioning:
        return Mixed(**vars(super()._condition(images, prompts)))


class Failing(FluxModel):
    def _condition(self, images: Any, prompts: Any) -> FluxConditioning:
        raise KeyError("no such part")


@pytest.fixture(scope="module")
def kontext(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return EDITORS["flux-kontext"].build(tmp_path_factory.mktemp("models") / "kontext")


def tried(folder: Path, name: str, family: str | None = None, size: int | PictureSize = SIZE) -> list[Any]:
    torch.set_num_threads(1)
    known = EDITORS[name]
    lora = {"rank": 2, "alpha": 4.0, "target_modules": list(known.target_modules)}
    settings = {key: value for key, value in known.settings.items() if key != "image_size"}
    if family is not None:
        settings["family"] = f"{__name__}:{family}"
    return try_family(str(folder), LearnerConfig(lora=lora), size, 3, settings)


@pytest.mark.parametrize("size", [SIZE, WIDE])
@pytest.mark.parametrize("name", list(EDITORS))
def test_every_known_family_keeps_what_it_promises(name: str, size: int | PictureSize, tmp_path: Path) -> None:
    promises = tried(EDITORS[name].build(tmp_path / "model"), name, size=size)
    assert [promise.what for promise in promises] == WHAT
    assert all(promise.holds for promise in promises), promises


@pytest.mark.parametrize(
    ("family", "broken", "words"),
    [
        ("Restless", WHAT[0], "grey levels apart"),
        ("Deaf", WHAT[1], "0 with the prompt"),
        ("Shuffled", WHAT[2], "velocities"),
        ("Half", WHAT[3], "apart"),
    ],
)
def test_a_family_that_breaks_a_promise_is_found(kontext: Path, family: str, broken: str, words: str) -> None:
    promises = {promise.what: promise for promise in tried(kontext, "flux-kontext", family)}
    assert not promises[broken].holds
    assert words in promises[broken].found


def test_an_error_of_the_family_is_what_was_found(kontext: Path) -> None:
    last = tried(kontext, "flux-kontext", "Failing")[-1]
    assert (last.what, last.holds, last.found) == (WHAT[1], False, "KeyError: 'no such part'")
