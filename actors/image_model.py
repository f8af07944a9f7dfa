"""An image model: a diffusers pipeline that edits images, and in some families draws them too.

Here is what all families share. Each has a file of its own, `model_families` chooses it. The Ray actors wrap one, and
the learner uses it to rebuild what the editor saw.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from diffusers import DiffusionPipeline, ModelMixin

from actors.conditioning import Conditioning
from actors.edit import Edit
from actors.flow_path import FlowOde, FlowSde
from actors.flow_sde import FlowSdeScheduler
from actors.pipelines.encodings import Encoding, Encodings
from actors.pipelines.folder import check_index, load_pipeline
from actors.pipelines.text_encoders import Offload, place
from scenes.pictures.size import PictureSize, nearest
from scenes.pictures.sources import check_sources

_SDE_STREAM = 1


class ImageModel(ABC):
    """A pipeline and the sizes that it is called with.

    A sample depends only on its own prompt, image and seed, whatever else is in the batch (up to float32 rounding).
    Its first noise is that of `torch.Generator().manual_seed(seed)`, so plain diffusers reproduces it; the noise of
    SDE steps is an independent stream of the same seed.

    Args:
        path: pipeline folder, or hub id.
        image_size: of images in and out: pixels a side of a square, or (width, height).
        steps: denoising steps where a call names none.
        max_sequence_length: text tokens; a longer prompt is cut.
        guidance_scale: how closely an edit keeps to its prompt; each family says what it does with it.
        max_batch: samples in one pipeline call; longer requests are taken in turns.
        device: torch device.
        dtype: torch dtype, by name.
        source_size: side of the square with about the pixels that the model sees of its source; None: `sources_at`.
        text_offload: `cpu`: text encoders are in CPU memory but for when they encode, see `TextEncoders`.

    Raises:
        ModelLoadError: no pipeline can be loaded from `path`; the message says why and what to do.
        ValueError: `image_size` or `source_size` does not fit the model.
    """

    pipeline: ClassVar[type[DiffusionPipeline]]
    """The pipeline whose arithmetic the family follows."""
    sources_at: ClassVar[int | None] = None
    """`source_size` where none is given; None: the model sees the image that it edits at `image_size`."""
    most_sources: ClassVar[int] = 1
    """Images that an edit may be given: the one that it edits, and others that the model sees beside it."""

    def __init__(
        self,
        path: str | Path,
        image_size: int | tuple[int, int] = 64,
        steps: int = 8,
        max_sequence_length: int = 32,
        guidance_scale: float = 1.0,
        max_batch: int = 16,
        device: str = "cpu",
        dtype: str = "float32",
        source_size: int | None = None,
        text_offload: Offload = "none",
    ) -> None:
        if source_size is not None and self.sources_at is None:
            raise ValueError(
                f"editor.source_size: {source_size} is refused: {self.pipeline.__name__} in {path} sees a source image "
                "at diffuser.image_size. Leave it out"
            )
        self.source_size = source_size or self.sources_at
        self.pipe: Any = self._load(path, getattr(torch, dtype))
        self.texts = place(self.pipe, device, text_offload)
        self.encodings = Encodings()
        self.image_size, self.size = image_size, PictureSize.of(image_size)
        self.steps = steps
        self.max_sequence_length = max_sequence_length
        self.guidance_scale = guidance_scale
        self.max_batch = max_batch
        patch = self.pipe.vae_scale_factor * 2
        for name, pixels in self.size.misfits(patch).items():
            near = nearest(pixels, patch)
            raise ValueError(f"{name} is {pixels}; the model in {path} needs a multiple of {patch}, as {near}")

    @property
    def call_arguments(self) -> dict[str, Any] | None:
        """What the pipeline's own call takes besides image, prompt, seed and steps to edit as this model does; None
        where no such call does."""
        return None

    @property
    def transformer(self) -> ModelMixin:
        """The policy's network."""
        return self.pipe.transformer

    def draw(self, prompts: Sequence[str], seeds: Sequence[int], steps: int | None = None) -> list[np.ndarray]:
        """Draw one image for each prompt: a list of (H, W, 3) uint8.

        Raises:
            ValueError: lists of different lengths, a seed outside [0, 2³²), steps below 1.
            FloatingPointError: the model produced pixels that are not finite.
        """
        check_calls(prompts, seeds)
        images: list[np.ndarray] = []
        for rows in batches(len(prompts), self.max_batch):
            images += to_images(self._draw(prompts[rows], seeds[rows], step_count(steps, self.steps)), seeds[rows])
        return images

    def edit(
        self,
        images: Sequence[np.ndarray],
        prompts: Sequence[str],
        seeds: Sequence[int],
        sde: FlowSde | FlowOde | None = None,
        steps: int | None = None,
    ) -> list[Edit]:
        """Apply one edit prompt to each image.

        Args:
            images: (H, W, 3) uint8, each of `size`; or (K, H, W, 3), where the model takes `most_sources` > 1: what is
                edited, and other images that it sees.
            prompts: edit prompts, one an image.
            seeds: one an image.
            sde: sample stochastically and return the paths, or by the ODE and return the clean latents as paths; None
                samples the ODE and returns none.
            steps: denoising steps; with `sde`, its own number holds.

        Raises:
            ValueError: as `draw`; or an image of another size or type; or `steps` that contradict `sde`.
            FloatingPointError: as `draw`.
        """
        check_calls(prompts, seeds, images)
        check_sources(images, self.size, self.most_sources)
        if sde is not None and steps not in (None, sde.steps):
            raise ValueError(f"steps is {steps} and sde.steps is {sde.steps}; leave steps out where sde is given")
        count = step_count(steps if sde is None else sde.steps, self.steps)
        first = seeds if sde is None else sde.first_seeds(images, prompts, seeds)
        edits: list[Edit] = []
        for rows in batches(len(prompts), self.max_batch):
            with self._sampler(sde, seeds[rows]) as sampler:
                pixels = self._edit(images[rows], prompts[rows], first[rows], count)
            edited = to_images(pixels, seeds[rows])
            paths = [None] * len(edited) if sampler is None else sampler.paths()
            edits += [Edit(image, path) for image, path in zip(edited, paths, strict=True)]
        return edits

    @torch.no_grad()
    def conditioning(self, images: Sequence[np.ndarray], prompts: Sequence[str]) -> Conditioning:
        """What the velocity of these edits depends on; uses the frozen VAE and text encoders only.

        Raises:
            ValueError: as `edit`, or no images.
        """
        check_calls(prompts, None, images)
        if not prompts:
            raise ValueError("conditioning needs at least one image; got none")
        check_sources(images, self.size, self.most_sources)
        return self._condition(images, prompts)

    @abstractmethod
    def _draw(self, prompts: Sequence[str], seeds: Sequence[int], steps: int) -> np.ndarray:
        """(B, H, W, 3) float pixels in [0, 1]; only families whose pipeline draws are asked."""

    @abstractmethod
    def _edit(
        self, images: Sequence[np.ndarray], prompts: Sequence[str], seeds: Sequence[int], steps: int
    ) -> np.ndarray:
        """(B, H, W, 3) float pixels in [0, 1], sampled with the pipeline's scheduler."""

    @abstractmethod
    def _condition(self, images: Sequence[np.ndarray], prompts: Sequence[str]) -> Conditioning:
        """`conditioning` of at least one checked image."""

    def _encoded(self, keys: Sequence[Hashable], encode: Callable[[list[int]], Encoding]) -> Encoding:
        """What the text encoders make of prompts, a row for each; see `Encodings.batch`, which keeps them where text
        encoders come and go."""
        if self.texts is None:
            return encode(list(range(len(keys))))
        return self.encodings.batch(keys, encode, self.pipe.vae.device)

    @contextmanager
    def _sampler(self, sde: FlowSde | FlowOde | None, seeds: Sequence[int]) -> Iterator[FlowSdeScheduler | None]:
        """Let the pipeline's scheduler be one that takes SDE steps, where `sde` asks for it."""
        if sde is None:
            yield None
            return
        scheduler = FlowSdeScheduler.from_config(self.pipe.scheduler.config)
        scheduler.start(sde, _step_generators(seeds))
        plain, self.pipe.scheduler = self.pipe.scheduler, scheduler
        try:
            yield scheduler
        finally:
            self.pipe.scheduler = plain  # a saved pipeline names its scheduler's class, which must stay diffusers' own

    @classmethod
    def _load(cls, path: str | Path, dtype: torch.dtype) -> DiffusionPipeline:
        check_index(path)
        return load_pipeline(cls.pipeline, path, dtype, lambda: cls._parts(path))

    @classmethod
    def _parts(cls, path: str | Path) -> dict[str, Any]:
        """Components that diffusers would not load by itself."""
        return {}


def batches(count: int, most: int) -> list[slice]:
    """The rows of `count` samples, `most` at a time."""
    return [slice(i, min(i + most, count)) for i in range(0, count, most)]


def step_count(steps: int | None, default: int) -> int:
    """Denoising steps of a call that names some, or none; a ValueError for fewer than 1."""
    count = default if steps is None else steps
    if count < 1:
        raise ValueError(f"steps is {count}; it must be at least 1")
    return count


def noise_generators(seeds: Sequence[int]) -> list[torch.Generator]:
    """The source of each sample's first noise."""
    return [torch.Generator().manual_seed(int(seed)) for seed in seeds]


def to_images(pixels: np.ndarray, seeds: Sequence[int]) -> list[np.ndarray]:
    """(B, H, W, 3) floats in [0, 1] as a list of (H, W, 3) uint8.

    Raises:
        FloatingPointError: a value that is not finite.
    """
    broken = [seed for seed, image in zip(seeds, pixels, strict=True) if not np.isfinite(image).all()]
    if broken:
        raise FloatingPointError(
            f"the pipeline produced pixels that are not finite for {len(broken)} of {len(seeds)} samples "
            f"(first seed {broken[0]}); its weights are damaged or its dtype is too narrow"
        )
    return list((pixels * 255).round().astype(np.uint8))


def check_calls(
    prompts: Sequence[str], seeds: Sequence[int] | None, images: Sequence[np.ndarray] | None = None
) -> None:
    """Refuse a call whose lists do not belong together.

    Raises:
        ValueError: they have different lengths, or a seed is outside [0, 2³²).
    """
    lengths = {"prompts": prompts, "seeds": seeds, "images": images}
    counts = {name: len(values) for name, values in lengths.items() if values is not None}
    if len(set(counts.values())) != 1:
        raise ValueError(f"lists must be of equal length; got {counts}")
    for i, seed in enumerate(seeds or ()):
        if not 0 <= seed < 2**32:
            raise ValueError(f"seed {i} is {seed}; it must be in [0, 2**32): torch's CPU generator ignores higher bits")


def _step_generators(seeds: Sequence[int]) -> list[torch.Generator]:
    return noise_generators([np.random.SeedSequence((int(s), _SDE_STREAM)).generate_state(1)[0] for s in seeds])
