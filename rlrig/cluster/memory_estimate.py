"""What one process of each role holds in memory, as far as it follows from the models and the settings.

Libraries, CUDA's own context and what an allocator keeps in reserve are not counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass, fields
from typing import TYPE_CHECKING, Any

from rlrig.cluster.model_size import DTYPE_BYTES, ModelSize, UnknownSize, adapter_parameters, local_folder, model_size

if TYPE_CHECKING:
    from learner.config import LearnerConfig
    from presets.images import PipelineConfig
    from presets.run_config import RunConfig
    from serving.config import VlmConfig

PIPELINE_BATCH = 16  # ImageModel's max_batch
_FLOAT = 4  # bytes of a float32, in which optimizers keep their state
_BUCKET = 500_000_000  # DeepSpeed's reduce_bucket_size, in elements
_LIVE = 1_000_000_000  # DeepSpeed's stage3_max_live_parameters
_BATCHED_TOKENS = 8192  # vLLM's max_num_batched_tokens on large GPUs; on others it is smaller


@dataclass(frozen=True)
class Memory:
    """Bytes of one process, on its GPU (with several, on each) where it has one; None: not known."""

    weights: float | None = 0.0
    gradients: float | None = 0.0
    optimizer: float | None = 0.0
    activations: float | None = 0.0
    kv_cache: float | None = 0.0

    @property
    def known(self) -> float:
        """The sum of what is known."""
        return sum(part for part in self.parts().values() if part is not None)

    @property
    def complete(self) -> bool:
        """Whether every part is known."""
        return all(part is not None for part in astuple(self))

    def parts(self) -> dict[str, float | None]:
        """By name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True)
class Estimate:
    """Of one process, and what of it is not known and why."""

    memory: Memory
    unknown: tuple[str, ...] = ()


def pipeline_replica(config: RunConfig, settings: PipelineConfig, model: str) -> Estimate:
    """A Diffuser or an Inverse Diffuser: all parts of its pipeline in the role's number format.

    Activations: the larger of one transformer block, tokens·(4h + 2f) elements (residual stream, queries, keys,
    values; both sides of an MLP of width f = 4h), and of the VAE's last block at full size, 3·H·W·c elements with the c
    channels that come into it (input of a convolution, its normed copy, its output). Both times the 16 samples of a
    call. They are rough.
    """
    try:
        parts = _pipeline(model)
    except UnknownSize as error:
        return _unknown(error, "weights", "activations")
    width_of_number = DTYPE_BYTES[settings.dtype]
    weights = sum(size.parameters for size in parts.values()) * width_of_number
    try:
        tokens, width, _ = _flux(parts, config.diffuser.image_size, settings.max_prompt_tokens)
        channels = _number(parts["vae"].settings, "block_out_channels")
        decoded = 3 * config.diffuser.image_size**2 * (channels[1] if len(channels) > 1 else channels[0])
        activations = PIPELINE_BATCH * width_of_number * max(tokens * 12 * width, decoded)
    except UnknownSize as error:
        return _unknown(error, "activations", weights=weights)
    return Estimate(Memory(weights=weights, activations=activations))


def vlm_replica(settings: VlmConfig) -> Estimate:
    """A replica of vLLM, each of its GPUs: weights and cache are split over them (tensor parallelism).

    Activations: one layer of a batch of `max_num_batched_tokens` tokens, tokens·(4h + 2f) elements (f is the MLP's
    width), and the logits of `max_num_seqs` sequences in float32, V numbers each.
    """
    devices = settings.devices
    cache = None if settings.kv_cache_gib is None else settings.kv_cache_gib * 2**30
    unknown = []
    if cache is None:
        share = settings.engine.get("gpu_memory_utilization")
        rest = f"{share:.0%} of the GPU" if share else "its share of the GPU (gpu_memory_utilization)"
        unknown.append(f"KV cache: vLLM fills {rest}; kv_cache_gib sets it")
    if "quantization" in settings.engine:
        unknown.append(f"weights: {settings.engine['quantization']} quantization makes them smaller than is said")
    try:
        size = model_size(local_folder(settings.model))
    except UnknownSize as error:
        found = _unknown(error, "weights", "activations", kv_cache=cache)
        return Estimate(found.memory, (*found.unknown, *unknown))
    weights = size.bytes_as(settings.dtype) / devices
    try:
        text = _text(size.settings)
        hidden, inner, words = (_number(text, name) for name in ("hidden_size", "intermediate_size", "vocab_size"))
        width = DTYPE_BYTES.get(settings.dtype.lower(), round(size.stored_bytes / max(1, size.parameters)))
        tokens = settings.engine.get("max_num_batched_tokens", _BATCHED_TOKENS)
        activations = tokens * (4 * hidden + 2 * inner / devices) * width + settings.max_num_seqs * words * 4
    except UnknownSize as error:
        unknown.append(f"activations: {error}")
        activations = None
    return Estimate(Memory(weights=weights, activations=activations, kv_cache=cache), tuple(unknown))


def learner_rank(config: RunConfig, policy: str) -> Estimate:
    """A rank of the learner of `policy`: the policy's module and, for the editor, the frozen parts of its pipeline.

    States: see `model_states`. Activations: see `training_activations`.
    """
    learner: LearnerConfig = getattr(config.learner, policy)
    model = config.models.actor if policy == "actor" else config.models.edits_with
    try:
        parts = {"": model_size(local_folder(model))} if policy == "actor" else _pipeline(model)
    except UnknownSize as error:
        return _unknown(error, "weights", "gradients", "optimizer", "activations")
    size, width_of_number = parts["" if policy == "actor" else "transformer"], DTYPE_BYTES[learner.dtype]
    beside = sum(part.parameters for part in parts.values() if part is not size)
    problems = []
    try:
        trained = size.parameters if learner.lora is None else adapter_parameters(size, learner.lora)
        frozen = 0 if learner.lora is None else size.parameters
        copied = size.parameters if learner.kl_coefficient > 0 and learner.lora is None else 0
        sizes = (trained, frozen, beside, copied, learner.zero_stage, learner.ranks)
        states = model_states(*sizes, width=width_of_number, on_gpu=learner.gpus_per_rank > 0)
    except UnknownSize as error:
        problems.append(f"gradients, optimizer: learner.{policy}.{error}")
        states = Memory(weights=(size.parameters + beside) * width_of_number, gradients=None, optimizer=None)
    try:
        if policy == "actor":
            activations = _vlm_training(config, size)
        else:
            tokens, width, blocks = _flux(parts, config.diffuser.image_size, config.editor.max_prompt_tokens)
            layers = (learner.micro_batch * tokens, width, blocks, width_of_number)
            activations = training_activations(*layers, again=learner.gradient_checkpointing)
    except UnknownSize as error:
        problems.append(f"activations: {error}")
        activations = None
    return Estimate(Memory(states.weights, states.gradients, states.optimizer, activations), tuple(problems))


def model_states(
    trained: int,
    frozen: int,
    beside: int,
    copied: int,
    stage: int,
    ranks: int,
    *,
    width: int = _FLOAT,
    on_gpu: bool = False,
) -> Memory:
    """Bytes of weights, gradients and optimizer state of one rank (ZeRO, arXiv 1910.02054, section 3;
    `estimate_zero2_model_states_mem_needs` and `estimate_zero3_model_states_mem_needs` of DeepSpeed). With N ranks, T
    trained and F frozen elements, and w bytes for a number (4, or 2 for bfloat16):

    | stage | weights | gradients | optimizer |
    |---|---|---|---|
    | 0 | w(T+F) | wT + bucket | 8T: AdamW's two moments |
    | 1 | w(T+F) | wT + bucket | 12T/N: DeepSpeed's own float32 copy of its part of the weights, and the moments |
    | 2 | w(T+F) | 8T/N + bucket: what is added up, in float32, and its copy for the step | 12T/N |
    | 3 | w(T+F)/N + w·min(T+F, 10⁹) gathered at a time | 8T/N + bucket | 12T/N |

    The bucket that gradients are reduced through, where there is more than one rank, holds at most 5·10⁸ elements;
    stages 1 and 2 set it aside whole, which other memory than a GPU's notices as far as it is filled. `beside` (parts
    of the pipeline that no engine knows) is whole on every rank, `copied` (the starting model of the KL divergence) is
    split with stage 3.

    Args:
        trained, frozen, beside, copied: elements.
        width: bytes of a number.
    """
    module = trained + frozen
    bucket = _BUCKET if on_gpu and stage in (1, 2) else min(trained, _BUCKET)
    weights: float = module + copied + beside
    if stage == 3:
        weights = (module + copied) / ranks + min(module, _LIVE) + beside
    gradients = trained * width if stage < 2 else trained * 2 * _FLOAT / ranks
    gradients += bucket * width if ranks > 1 else 0
    optimizer = 2 * trained if stage == 0 else 3 * trained / ranks
    return Memory(weights * width, gradients, optimizer * _FLOAT)


def training_activations(
    tokens: float, channels: int, layers: int, width: int = _FLOAT, *, again: bool = False
) -> float:
    """Bytes that a forward pass keeps for the backward pass: 34·tokens·channels for each layer in 16 bits (Korthikanti
    et al., arXiv 2205.05198, equation 1, without the attention matrix, which fused attention does not keep), twice that
    in float32. Where layers are computed `again`, the input of each layer is kept, and one layer at a time is whole."""
    layer = 34 * tokens * channels * width / 2
    return layer + tokens * channels * layers * width if again else layer * layers


def _vlm_training(config: RunConfig, size: ModelSize) -> float:
    """Text and vision layers of a forward pass of `micro_batch` answers, each as long as a request may be and with an
    image of its own, and the logits and their gradients."""
    settings, learner = size.settings, config.learner.actor
    text = _text(settings)
    lengths = (config.vlm.actor.max_model_len, *(part.get("max_position_embeddings") for part in (text, settings)))
    length = next((length for length in lengths if length), None)
    if length is None:
        raise UnknownSize("vlm.actor.max_model_len is not set, and the model does not say how long a request may be")
    hidden, layers, words = (_number(text, name) for name in ("hidden_size", "num_hidden_layers", "vocab_size"))
    tokens = learner.micro_batch * length
    width = DTYPE_BYTES[learner.dtype]
    again = learner.gradient_checkpointing
    total: float = training_activations(tokens, hidden, layers, width, again=again) + 2 * tokens * words * width
    vision = settings.get("vision_config") or {}
    depth = vision.get("num_hidden_layers") or vision.get("depth")
    if depth and {"hidden_size", "patch_size"} <= vision.keys():
        patches = (vision.get("image_size", config.diffuser.image_size) // vision["patch_size"]) ** 2
        total += training_activations(learner.micro_batch * patches, vision["hidden_size"], depth, width, again=again)
    return total


def _pipeline(model: str) -> dict[str, ModelSize]:
    folder = local_folder(model)
    names = {path.parent.name for path in folder.glob("*/*.safetensors*")}
    parts = {name: model_size(folder / name) for name in sorted(names)}
    if missing := {"vae", "transformer"} - parts.keys():
        raise UnknownSize(f"{folder} holds no {' and no '.join(sorted(missing))}")
    return parts


def _flux(parts: Mapping[str, ModelSize], image_size: int, text: int) -> tuple[int, int, int]:
    """Tokens of one edit (drawn image, source image, text), width and number of blocks of a FLUX transformer. Its VAE
    halves the sides of an image once for each of its blocks but the first, and a token stands for 2×2 latents."""
    settings = parts["transformer"].settings
    heads, head, double, single = (
        _number(settings, name)
        for name in ("num_attention_heads", "attention_head_dim", "num_layers", "num_single_layers")
    )
    side = image_size // (2 ** len(_number(parts["vae"].settings, "block_out_channels")))
    return 2 * side**2 + text, heads * head, double + single


def _text(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    return settings.get("text_config") or settings


def _number(settings: Mapping[str, Any], name: str) -> Any:
    if name not in settings:
        raise UnknownSize(f"config.json of the model has no {name}")
    return settings[name]


def _unknown(error: UnknownSize, *parts: str, **known: float | None) -> Estimate:
    return Estimate(Memory(**dict.fromkeys(parts), **known), (f"{', '.join(parts)}: {error}",))
