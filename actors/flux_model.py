"""One FLUX-Kontext pipeline: it draws without a source image and edits with one.

The Ray actors wrap it, and the learner uses it to rebuild what the editor saw: `conditioning` and `velocity` compute
what diffusers' `FluxKontextPipeline.__call__` computes, so that log-probabilities of both sides agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
import transformers
from diffusers import FluxKontextPipeline, FluxTransformer2DModel
from PIL import Image
from safetensors import SafetensorError

from actors.conditioning import Conditioning, velocity
from actors.edit import Edit
from actors.flow_path import FlowPath, FlowSde
from actors.flow_sde import FlowSdeScheduler
from actors.repeats import without_repeats

__all__ = ["Conditioning", "Edit", "FluxModel", "ModelLoadError", "velocity"]

_SDE_STREAM = 1


class ModelLoadError(RuntimeError):
    """A model folder is missing, incomplete or damaged."""


class FluxModel:
    """A FluxKontextPipeline and the sizes that it is called with.

    A sample depends only on its own prompt, image and seed, whatever else is in the batch (up to float32 rounding).
    Its first noise is that of `torch.Generator().manual_seed(seed)`, so plain diffusers reproduces it; the noise of
    SDE steps is an independent stream of the same seed.

    Args:
        path: pipeline folder, or hub id.
        image_size: height and width in pixels, of images in and out.
        steps: denoising steps where a call names none.
        max_sequence_length: T5 tokens; a longer prompt is cut.
        guidance_scale: only models with `guidance_embeds` use it.
        max_batch: samples in one pipeline call; longer requests are taken in turns.
        device: torch device.
        dtype: torch dtype, by name.

    Raises:
        ModelLoadError: no pipeline can be loaded from `path`; the message says why and what to do.
        ValueError: `image_size` does not fit the model.
    """

    def __init__(
        self,
        path: str | Path,
        image_size: int = 64,
        steps: int = 8,
        max_sequence_length: int = 32,
        guidance_scale: float = 1.0,
        max_batch: int = 16,
        device: str = "cpu",
        dtype: str = "float32",
    ) -> None:
        self.pipe = _load(path, getattr(torch, dtype)).to(device)
        self.image_size = image_size
        self.steps = steps
        self.max_sequence_length = max_sequence_length
        self.guidance_scale = guidance_scale
        self.max_batch = max_batch
        patch = self.pipe.vae_scale_factor * 2
        if image_size < patch or image_size % patch:
            raise ValueError(f"image_size is {image_size}; the model in {path} needs a multiple of {patch}")

    @property
    def transformer(self) -> FluxTransformer2DModel:
        """The policy's network."""
        return self.pipe.transformer

    def draw(self, prompts: Sequence[str], seeds: Sequence[int], steps: int | None = None) -> list[np.ndarray]:
        """Draw one image for each prompt: a list of (H, W, 3) uint8.

        Raises:
            ValueError: lists of different lengths, a seed outside [0, 2³²), steps below 1.
            FloatingPointError: the model produced pixels that are not finite.
        """
        _check(prompts, seeds)
        images: list[np.ndarray] = []
        for rows in self._batches(len(prompts)):
            images += self._call(prompts[rows], seeds[rows], self._step_count(steps))
        return images

    def edit(
        self,
        images: Sequence[np.ndarray],
        prompts: Sequence[str],
        seeds: Sequence[int],
        sde: FlowSde | None = None,
        steps: int | None = None,
    ) -> list[Edit]:
        """Apply one edit prompt to each image.

        Args:
            images: (H, W, 3) uint8, each of `image_size`.
            prompts: edit prompts, one an image.
            seeds: one an image.
            sde: sample stochastically and return the paths; None samples the ODE.
            steps: denoising steps; with `sde`, its own number holds.

        Raises:
            ValueError: as `draw`; or an image of another size or type; or `steps` that contradict `sde`.
            FloatingPointError: as `draw`.
        """
        _check(prompts, seeds, images)
        for i, image in enumerate(images):
            self._check_image(i, image)
        if sde is not None and steps not in (None, sde.steps):
            raise ValueError(f"steps is {steps} and sde.steps is {sde.steps}; leave steps out where sde is given")
        count = self._step_count(steps if sde is None else sde.steps)
        edits: list[Edit] = []
        for rows in self._batches(len(prompts)):
            sources = self._source_latents(images[rows])
            if sde is None:
                edits += [Edit(image) for image in self._call(prompts[rows], seeds[rows], count, image=sources)]
                continue
            edited, paths = self._call_sde(sources, prompts[rows], seeds[rows], sde)
            edits += [Edit(image, path) for image, path in zip(edited, paths, strict=True)]
        return edits

    @torch.no_grad()
    def conditioning(self, images: Sequence[np.ndarray], prompts: Sequence[str]) -> Conditioning:
        """What the velocity of these edits depends on; uses the frozen VAE and text encoders only.

        Raises:
            ValueError: as `edit`, or no images.
        """
        _check(prompts, None, images)
        if not prompts:
            raise ValueError("conditioning needs at least one image; got none")
        for i, image in enumerate(images):
            self._check_image(i, image)
        pipe = self.pipe
        embeds, pooled, text_ids = self._prompt_embeds(prompts)
        _, image_latents, latent_ids, image_ids = pipe.prepare_latents(
            self._source_latents(images),
            len(prompts),
            pipe.transformer.config.in_channels // 4,
            self.image_size,
            self.image_size,
            embeds.dtype,
            pipe.vae.device,
            _noise_generators([0] * len(prompts)),  # the first noise is thrown away; the global stream stays as it is
        )
        guidance = self.guidance_scale if pipe.transformer.config.guidance_embeds else None
        return Conditioning(image_latents, embeds, pooled, text_ids, torch.cat([latent_ids, image_ids]), guidance)

    @torch.no_grad()
    def _source_latents(self, images: Sequence[np.ndarray]) -> torch.Tensor:
        """(B, C, h, w): latents as the pipeline makes and also takes them. Equal images are encoded once."""
        firsts, places = without_repeats([image.tobytes() for image in images])
        vae = self.pipe.vae
        pixels = self.pipe.image_processor.preprocess([Image.fromarray(images[first]) for first in firsts])
        # One generator an image makes the pipeline encode them one by one, so that none depends on the others.
        latents = self.pipe._encode_vae_image(pixels.to(vae.device, vae.dtype), _noise_generators([0] * len(firsts)))
        return latents[places]

    @torch.no_grad()
    def _prompt_embeds(self, prompts: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """T5 embeddings (B, L, D), CLIP's (B, P) and positions (L, 3). Equal prompts are encoded once."""
        firsts, places = without_repeats(prompts)
        embeds, pooled, text_ids = self.pipe.encode_prompt(
            prompt=[prompts[first] for first in firsts],
            max_sequence_length=self.max_sequence_length,
            device=self.pipe.vae.device,
        )
        return embeds[places], pooled[places], text_ids

    def _call_sde(
        self, sources: torch.Tensor, prompts: Sequence[str], seeds: Sequence[int], sde: FlowSde
    ) -> tuple[list[np.ndarray], list[FlowPath]]:
        scheduler = FlowSdeScheduler.from_config(self.pipe.scheduler.config)
        scheduler.start(sde, _step_generators(seeds))
        plain, self.pipe.scheduler = self.pipe.scheduler, scheduler
        try:
            edited = self._call(prompts, seeds, sde.steps, image=sources)
        finally:
            self.pipe.scheduler = plain  # a saved pipeline names its scheduler's class, which must stay diffusers' own
        return edited, scheduler.paths()

    def _call(self, prompts: Sequence[str], seeds: Sequence[int], steps: int, **kwargs: Any) -> list[np.ndarray]:
        embeds, pooled, _ = self._prompt_embeds(prompts)
        pixels = self.pipe(
            prompt_embeds=embeds,
            pooled_prompt_embeds=pooled,
            height=self.image_size,
            width=self.image_size,
            max_area=self.image_size**2,
            _auto_resize=False,
            max_sequence_length=self.max_sequence_length,
            guidance_scale=self.guidance_scale,
            num_inference_steps=steps,
            generator=_noise_generators(seeds),
            output_type="np",
            **kwargs,
        ).images
        broken = [seed for seed, image in zip(seeds, pixels, strict=True) if not np.isfinite(image).all()]
        if broken:
            raise FloatingPointError(
                f"the pipeline produced pixels that are not finite for {len(broken)} of {len(seeds)} samples "
                f"(first seed {broken[0]}); its weights are damaged or its dtype is too narrow"
            )
        return list((pixels * 255).round().astype(np.uint8))

    def _batches(self, count: int) -> list[slice]:
        return [slice(i, min(i + self.max_batch, count)) for i in range(0, count, self.max_batch)]

    def _step_count(self, steps: int | None) -> int:
        count = self.steps if steps is None else steps
        if count < 1:
            raise ValueError(f"steps is {count}; it must be at least 1")
        return count

    def _check_image(self, index: int, image: np.ndarray) -> None:
        expected = (self.image_size, self.image_size, 3)
        if image.shape != expected or image.dtype != np.uint8:
            raise ValueError(
                f"image {index} is {image.dtype} of shape {image.shape}; expected uint8 of shape {expected}: "
                "resize it, or set image_size to what the model was trained for"
            )


def _load(path: str | Path, dtype: torch.dtype) -> FluxKontextPipeline:
    remedy = "give a folder that FluxKontextPipeline.save_pretrained wrote, or a hub id that can be reached"
    folder = Path(path)
    if not (folder / "model_index.json").is_file() and (folder.exists() or len(folder.parts) != 2):
        what = "has no model_index.json" if folder.is_dir() else "does not exist"
        raise ModelLoadError(f"model path {str(path)!r} {what}; {remedy}")
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    try:
        pipe = FluxKontextPipeline.from_pretrained(str(path), dtype=dtype)
    except (OSError, ValueError, SafetensorError) as error:
        raise ModelLoadError(f"model path {str(path)!r} cannot be loaded: {error}; {remedy}") from error
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _check(prompts: Sequence[str], seeds: Sequence[int] | None, images: Sequence[np.ndarray] | None = None) -> None:
    lengths = {"prompts": prompts, "seeds": seeds, "images": images}
    counts = {name: len(values) for name, values in lengths.items() if values is not None}
    if len(set(counts.values())) != 1:
        raise ValueError(f"lists must be of equal length; got {counts}")
    for i, seed in enumerate(seeds or ()):
        if not 0 <= seed < 2**32:
            raise ValueError(f"seed {i} is {seed}; it must be in [0, 2**32): torch's CPU generator ignores higher bits")


def _noise_generators(seeds: Sequence[int]) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(int(seed)) for seed in seeds]


def _step_generators(seeds: Sequence[int]) -> list[torch.Generator]:
    return _noise_generators([np.random.SeedSequence((int(s), _SDE_STREAM)).generate_state(1)[0] for s in seeds])
