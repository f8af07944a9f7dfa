"""Memory of an image worker: the parts of its pipeline, and the largest of what its stages hold at a time."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from presets.images import EditorConfig
from presets.memory.estimate import Estimate, Term, count, gib, unknown
from presets.memory.model_size import DTYPE_BYTES, ModelSize, UnknownSize, setting
from presets.memory.sizes import Model, Sizes

if TYPE_CHECKING:
    from presets.images import PipelineConfig
    from presets.run_config import RunConfig

WORKER_BATCH = 16
"""Samples of a call: ImageModel's `max_batch`."""
SOURCE_SIZE = {"QwenImageEditPipeline": 1024, "QwenImageEditPlusPipeline": 1024}
"""Side of the square with about as many pixels as an editor sees of its source where `editor.source_size` says nothing;
others see it at the image's own size."""
TEXT_SIZE = {"QwenImageEditPlusPipeline": 384}
"""The same of what its text encoder sees; others with eyes: the source's."""
_ONE_PROMPT = ("QwenImageEditPlusPipeline",)  # encodes one prompt at a time
_APART = ("FluxPipeline", "FluxKontextPipeline", "Flux2KleinPipeline", "QwenImageEditPipeline", *_ONE_PROMPT)
"""Encode each prompt by itself where text encoders leave the GPU (`actors.pipelines.encodings`)."""
_TWO_PASSES = ("QwenImageEdit", "Flux2Klein")  # guided by a second forward pass after the first
_ONE_PASS = ("Flux", "QwenImage")  # the batch of a pass is never doubled for guidance
_TEXT_ENCODER = "text_encoder"
_VAE_COPIES = 4


@dataclass(frozen=True)
class Geometry:
    """Sizes of one sample in a pipeline.

    Attributes:
        own, source, text: tokens of the image that is made, of the image that is edited, of the prompt.
        width: channels of the transformer.
        blocks: its blocks.
        gated: whether its feed-forward layers are gated.
    """

    own: int
    source: int
    text: int
    width: int
    blocks: int
    gated: bool

    @property
    def tokens(self) -> int:
        """All of a sample."""
        return self.own + self.source + self.text

    @property
    def said(self) -> str:
        """As text."""
        parts = ((self.own, "image"), (self.source, "source"), (self.text, "text"))
        return "(" + " + ".join(f"{tokens} {name}" for tokens, name in parts if tokens) + ") tokens"


def image_worker(config: RunConfig, role: str, sizes: Sizes, *, batch: int = WORKER_BATCH) -> Estimate:
    """A Diffuser (`diffuser`) or an Inverse Diffuser (`editor`): all parts of its pipeline in the role's number format,
    and the largest of its stages for `batch` samples:

    - prompts: see `encoding`; with `text_offload` the text encoders' weights are there meanwhile, and only then;
    - a step: tokens·(4h + 8h) elements, a block's residual stream, queries, keys, values and both sides of an MLP of
      width 4h, without gradients; where a pipeline runs both halves of classifier-free guidance at once, twice that;
    - decoding: 4·H·W·c elements with the c channels that come into the VAE's last block at full size: what comes in,
      normed, activated, and what a convolution makes of it. It is fitted to one measurement on an H200: 4.1 GiB for
      eight images of FLUX's VAE at 512×512 pixels, of which this makes 4.0 (docs/status.md). Sources are encoded one
      at a time, which takes less.
    """
    settings: PipelineConfig = getattr(config, role)
    name = config.models.flux if role == "diffuser" else config.models.edits_with
    try:
        model = sizes.model(name)
    except UnknownSize as error:
        return Estimate(unknown(error, "weights", "activations"))
    width = DTYPE_BYTES[settings.dtype]
    weights = weights_terms(model, width, visitors(settings, model))
    try:
        stages = worker_stages(config, settings, model, batch, width)
    except UnknownSize as error:
        return Estimate((*weights, *unknown(error, "activations")))
    return Estimate((*weights, largest(stages)))


def worker_stages(
    config: RunConfig, settings: PipelineConfig, model: Model, batch: int, width: int
) -> dict[str, tuple[float, str]]:
    """Bytes and arithmetic of each stage of a worker, without weights; see `image_worker`.

    Raises:
        UnknownSize: a setting of the model is missing.
    """
    sample = geometry(config, settings, model)
    doubled = 2 if settings.guidance > 1 and not model.pipeline.startswith(_ONE_PASS) else 1
    step = doubled * batch * sample.tokens * 12 * sample.width * width
    twice = "2 halves of guidance × " if doubled > 1 else ""
    size = config.diffuser.size
    channels = _channels(model.part("vae"))
    decoded = _VAE_COPIES * batch * size.pixels * channels * width
    pixels = f"{size.width}×{size.height} pixels"
    return {
        "prompts": encoding(settings, model, sample, batch, width),
        "a step": (step, f"{twice}{batch} × {sample.said} × 12 × {sample.width} channels × {width} B"),
        "decoding": (decoded, f"{_VAE_COPIES} × {batch} × {pixels} × {channels} channels × {width} B"),
    }


def largest(stages: dict[str, tuple[float, str]]) -> Term:
    """The stage that holds most, as a term."""
    name = max(stages, key=lambda stage: stages[stage][0])
    others = ", ".join(f"{other} {gib(stages[other][0])}" for other in stages if other != name)
    return Term("activations", stages[name][0], f"{name}, {stages[name][1]}{f' ({others})' if others else ''}")


def weights_terms(model: Model, width: int, left_out: Container[str] = ()) -> tuple[Term, ...]:
    """A term for the weights of each part but those `left_out`."""
    return tuple(
        Term("weights", size.parameters * width, f"{name}, {parameters(size)} × {width} B")
        for name, size in model.parts.items()
        if name not in left_out
    )


def visitors(settings: PipelineConfig, model: Model) -> frozenset[str]:
    """The parts that are on the device only while prompts are encoded."""
    if settings.text_offload == "none":
        return frozenset()
    return frozenset(name for name in model.parts if name.startswith(_TEXT_ENCODER))


def parameters(size: ModelSize) -> str:
    """`8.29 G parameters (vision 677 M)`."""
    seeing = f" (vision {count(size.vision)})" if size.vision else ""
    return f"{count(size.parameters)} parameters{seeing}"


def encoding(settings: PipelineConfig, model: Model, sample: Geometry, batch: int, width: int) -> tuple[float, str]:
    """Bytes and arithmetic of the text encoder that holds most. A language model gives the states of all its layers,
    and logits that nobody asks for: tokens·(h·(layers + 1) + words); an encoder one layer: tokens·(4h + 2f). Text
    encoders that come for it add their weights."""
    coming = visitors(settings, model)
    prompts = 1 if model.pipeline in (_APART if coming else _ONE_PROMPT) else batch
    found = (0.0, "none")
    for name, size in model.parts.items():
        if not name.startswith(_TEXT_ENCODER):
            continue
        text = size.text
        hidden = setting(text, "hidden_size", "d_model")
        layers = setting(text, "num_hidden_layers", "num_layers")
        if str((size.settings.get("architectures") or [""])[0]).endswith(("ForCausalLM", "ForConditionalGeneration")):
            words = setting(text, "vocab_size")
            each, said = hidden * (layers + 1) + words, f"({hidden} × {layers + 1} layers + {words} logits)"
        else:
            inner = setting(text, "intermediate_size", "d_ff")
            each, said = 4 * hidden + 2 * inner, f"(4 × {hidden} + 2 × {inner})"
        most = int(text.get("max_position_embeddings", sample.text))
        tokens = min(sample.text, most)
        nbytes = prompts * tokens * each * width
        if nbytes > found[0]:
            found = (nbytes, f"{name}, {prompts} × {tokens} tokens × {said} × {width} B")
    if coming:
        sizes = [model.parts[name] for name in sorted(coming)]
        weights = sum(size.parameters for size in sizes) * width
        told = " + ".join(map(parameters, sizes))
        return weights + found[0], f"text encoders that come, ({told}) × {width} B + {found[1]}"
    return found


def geometry(config: RunConfig, settings: PipelineConfig, model: Model) -> Geometry:
    """The sizes of one sample: for an editor with the image that it edits.

    A VAE halves the sides of an image once for each of its blocks but the first, and a token stands for 2×2 latents. A
    text encoder that sees has a token for each `spatial_merge_size`² patches of the source.

    Raises:
        UnknownSize: a setting of the model is missing.
    """
    transformer, vae = model.part("transformer"), model.part("vae")
    pixels = 2 ** len(vae.number("block_out_channels", "dim_mult"))
    size = config.diffuser.size
    own, source, text = prod(size.tokens(pixels)), 0, settings.max_prompt_tokens
    if isinstance(settings, EditorConfig):
        given = settings.source_size or SOURCE_SIZE.get(model.pipeline)
        source = own if given is None else prod(size.scaled_to(given).tokens(pixels))
        encoders = [part.settings for name, part in model.parts.items() if name.startswith(_TEXT_ENCODER)]
        for vision in [it["vision_config"] for it in encoders if it.get("vision_config")]:
            patch = int(vision.get("patch_size", 14)) * int(vision.get("spatial_merge_size", 2))
            side = TEXT_SIZE.get(model.pipeline, given)
            text += prod((size if side is None else size.scaled_to(side)).tokens(patch))
    if "num_attention_heads" in transformer.settings:
        width = transformer.number("num_attention_heads") * transformer.number("attention_head_dim")
    else:
        width = transformer.number("dim", "hidden_size")
    blocks = transformer.number("num_layers", "n_layers") + (transformer.settings.get("num_single_layers") or 0)
    gated = str(transformer.settings.get("_class_name", "")).startswith("Flux2")
    return Geometry(own, source, text, width, blocks, gated)


def passes(settings: PipelineConfig, model: Model) -> int:
    """Forward passes of an editor's step that a gradient flows through."""
    return 2 if settings.guidance > 1 and model.pipeline.startswith(_TWO_PASSES) else 1


def _channels(vae: ModelSize) -> int:
    """That come into the VAE's last block at full size."""
    if "block_out_channels" in vae.settings:
        channels = vae.settings["block_out_channels"]
    else:
        channels = [vae.number("base_dim") * factor for factor in vae.number("dim_mult")]
    return int(channels[min(1, len(channels) - 1)])
