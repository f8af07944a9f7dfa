"""What a family of editors promises to rollout and learner, tried on its model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from actors.conditioning import velocity
from actors.edit import Edit
from actors.flow_path import FlowSde
from actors.model_families import load_editor
from learner.config import LearnerConfig
from learner.flow_policy import FlowPolicy
from learner.samples import EditorSample
from scenes.pictures.size import PictureSize

PROMPTS = ("move the red circle left of the blue square", "make it green")
_SEEDS = (5, 6)
_ETA = 0.7
_SHOWS = 1e-4  # least change of a velocity or a log-probability that shows that something matters
_RATE = 1e-2
# Greatest differences of log-probabilities and velocities by number format, and of images in grey levels.
_ROUNDING = {"float32": (1e-3, 1e-3, 1), "bfloat16": (5e-2, 5e-2, 8), "float16": (5e-2, 5e-2, 8)}


@dataclass(frozen=True)
class Promise:
    """One promise, whether it holds, and what was measured."""

    what: str
    holds: bool
    found: str


def try_family(
    path: str, config: LearnerConfig, size: int | tuple[int, int], steps: int, settings: dict[str, Any]
) -> list[Promise]:
    """Edit two noise images, rebuild what was sampled, train a step, export and load again.

    Args:
        path: pipeline folder, or hub id.
        config: the editor's learner; one step is made with its adapter, or with all weights.
        size: of the images: pixels a side of a square, or (width, height).
        steps: denoising steps.
        settings: as `ImageModel` takes them besides.

    Returns:
        The promises in the order in which they were tried. After one whose trial failed with an error, there is none.
    """
    torch.manual_seed(0)
    trial = _Trial(path, config, {"image_size": size, **settings}, steps)
    found: list[Promise] = []
    for what, one in (
        ("a sample does not depend on its batch", trial.alone_and_together),
        ("image and prompt matter", trial.what_matters),
        ("rows of a conditioning are its samples", trial.rows),
        ("the learner finds the rollout's log-probabilities", trial.log_probs),
        ("each image of an edit matters, and the learner sees it", trial.several),
        ("a step of training changes the policy", trial.training),
        ("an exported model computes the same", trial.export),
    ):
        try:
            holds, measured = one()
        except Exception as error:  # code of the user's own may raise anything, and the report is what was asked for
            return [*found, Promise(what, False, f"{type(error).__name__}: {error}")]
        found.append(Promise(what, holds, measured))
    return found


class _Trial:
    def __init__(self, path: str, config: LearnerConfig, settings: dict[str, Any], steps: int) -> None:
        self._path, self._settings, self._config = path, settings, config
        self._sde = FlowSde(eta=_ETA, steps=steps)
        size = PictureSize.of(settings["image_size"])
        generator = np.random.default_rng(0)
        self._images = [generator.integers(0, 256, size.shape, dtype=np.uint8) for _ in PROMPTS]
        self._log_prob, self._velocity, self._grey = _ROUNDING[config.dtype]
        self._samples: list[EditorSample] = []

    @cached_property
    def policy(self) -> FlowPolicy:
        """The learner's side."""
        return FlowPolicy(self._path, self._config, **self._settings)

    def alone_and_together(self) -> tuple[bool, str]:
        """Equal seeds give equal edits, whatever else is in the batch, and other seeds others."""
        edit: Callable[..., list[Edit]] = self.policy.model.edit
        together = edit(self._images, PROMPTS, _SEEDS, self._sde)
        (alone,) = edit(self._images[1:], PROMPTS[1:], _SEEDS[1:], self._sde)
        (other,) = edit(self._images[1:], PROMPTS[1:], _SEEDS[:1], self._sde)
        self._samples = [
            EditorSample(image, prompt, _path_of(one), 1.0 - 2 * row)
            for row, (image, prompt, one) in enumerate(zip(self._images, PROMPTS, together, strict=True))
        ]
        apart, others = _grey_levels(together[1], alone), _grey_levels(alone, other)
        return apart <= self._grey < others, f"{apart} grey levels apart; {others} with another seed"

    def what_matters(self) -> tuple[bool, str]:
        """Another image, and another prompt, give another velocity."""
        first = self._predicted(self._images[:1], PROMPTS[:1])
        by_image = _most(self._predicted(self._images[1:], PROMPTS[:1]) - first)
        by_prompt = _most(self._predicted(self._images[:1], PROMPTS[1:]) - first)
        least = min(by_image, by_prompt)
        return least > _SHOWS, f"velocities change by {by_image:.2g} with the image, {by_prompt:.2g} with the prompt"

    def rows(self) -> tuple[bool, str]:
        """`take` gives the conditioning of these rows, repeated ones too."""
        both = self.policy.model.conditioning(self._images, PROMPTS)
        taken = both.take([1, 0, 1])
        noise = torch.randn(both.zeros().shape, generator=torch.Generator().manual_seed(1)).to(both.zeros())
        with torch.no_grad():
            plain = velocity(self.policy.module, noise, both, 0.6)
            picked = velocity(self.policy.module, noise[[1, 0, 1]], taken, 0.6)
        apart = _most(picked - plain[[1, 0, 1]])
        return apart <= self._velocity and len(taken) == 3, f"velocities {apart:.2g} apart"

    def log_probs(self) -> tuple[bool, str]:
        """The learner rebuilds the log-probability of every step that the rollout took."""
        apart = self._mismatch()
        return apart <= self._log_prob, f"{apart:.2g} apart"

    def several(self) -> tuple[bool, str]:
        """A family that takes several images sees the second one, too, and the learner rebuilds the edits with both."""
        if (most := self.policy.model.most_sources) == 1:
            return True, "it takes one"
        pairs = [np.stack(pair) for pair in (self._images, self._images[::-1])]
        same = [np.stack([pair[0], pair[0]]) for pair in pairs]
        by_second = _most(self._predicted(pairs[:1], PROMPTS[:1]) - self._predicted(same[:1], PROMPTS[:1]))
        edits: list[Edit] = self.policy.model.edit(pairs, PROMPTS, _SEEDS, self._sde)
        found = zip(pairs, PROMPTS, edits, strict=True)
        apart = self._mismatch([EditorSample(pair, prompt, _path_of(edit), 0.0) for pair, prompt, edit in found])
        holds = by_second > _SHOWS and apart <= self._log_prob
        return holds, f"of at most {most} the second changes velocities by {by_second:.2g}; log-probs {apart:.2g} apart"

    def training(self) -> tuple[bool, str]:
        """A step on what was sampled moves weights and log-probabilities."""
        untrained = self._mismatch()
        before = {name: tensor.clone() for name, tensor in self.policy.weights.tensors().items()}
        optimizer = torch.optim.AdamW([p for p in self.policy.module.parameters() if p.requires_grad], lr=_RATE)
        for _ in range(2):  # an adapter's second matrix begins at zero, so the first has no gradient in the first step
            for batch in self.policy.batches(self._samples):
                evaluation = self.policy.evaluate(self.policy.module, batch)
                loss, _ = self.policy.loss(batch, evaluation, self.policy.anchor(evaluation).detach(), batch.count)
                loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        after = self.policy.weights.tensors()
        moved = [name for name, tensor in after.items() if not torch.equal(tensor, before[name])]
        apart = self._mismatch()
        holds = bool(moved) and apart > max(_SHOWS, 10 * untrained)
        return holds, f"{len(moved)} of {len(before)} tensors moved, log-probabilities by {apart:.2g}"

    def export(self) -> tuple[bool, str]:
        """A folder that the policy writes is loaded again as it is."""
        own = {key: value for key, value in self._settings.items() if key != "image_size"}
        expected = self._predicted(self._images, PROMPTS)
        with TemporaryDirectory() as root:
            self.policy.export(Path(root) / "editor")
            loaded = load_editor(
                Path(root) / "editor", image_size=self._settings["image_size"], device=self._config.device,
                dtype=self._config.dtype, **own,
            )  # fmt: skip
        conditioning = loaded.conditioning(self._images, PROMPTS)
        with torch.no_grad():
            found = velocity(loaded.transformer, self._noise(expected), conditioning, 0.6)
        apart = _most(found - expected)
        return apart <= self._velocity, f"velocities {apart:.2g} apart"

    def _predicted(self, images: Sequence[np.ndarray], prompts: Sequence[str]) -> torch.Tensor:
        conditioning = self.policy.model.conditioning(images, prompts)
        with torch.no_grad():
            return velocity(self.policy.module, self._noise(conditioning.zeros()), conditioning, 0.6)

    @staticmethod
    def _noise(like: torch.Tensor) -> torch.Tensor:
        return torch.randn(like.shape, generator=torch.Generator().manual_seed(2)).to(like)

    def _mismatch(self, samples: Sequence[EditorSample] | None = None) -> float:
        policy = self.policy
        with torch.no_grad():
            return max(
                float(policy.mismatch(batch, policy.anchor(policy.evaluate(policy.module, batch))).max())
                for batch in policy.batches(samples or self._samples)
            )


def _path_of(edit: Edit) -> Any:
    if edit.path is None:
        raise TypeError("edit(…, sde) returned no path; FlowSdeScheduler must take the steps, as pipe.scheduler")
    return edit.path


def _grey_levels(a: Edit, b: Edit) -> int:
    return int(np.abs(a.image.astype(int) - b.image.astype(int)).max())


def _most(difference: torch.Tensor) -> float:
    return float(difference.abs().max())
