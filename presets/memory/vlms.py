"""Memory of a VLM: a replica of vLLM, and what the Actor's learner keeps of a forward pass."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from presets.memory.estimate import Estimate, Term, count, gib, unknown
from presets.memory.image_models import parameters
from presets.memory.model_size import DTYPE_BYTES, ModelSize, UnknownSize, setting
from presets.memory.sizes import Sizes
from scenes.pictures.size import PictureSize

if TYPE_CHECKING:
    from presets.run_config import RunConfig
    from serving.config import VlmConfig

_BATCHED_TOKENS = 8192  # vLLM's max_num_batched_tokens on large GPUs; on others it is smaller
_SHARE = 0.92  # vLLM's gpu_memory_utilization
_PICKED = 14  # bytes of a logit that is compared: in 16 bits, three times in float32


def vlm_replica(settings: VlmConfig, sizes: Sizes, gpu_gib: float | None = None) -> Estimate:
    """A replica of vLLM, each of its GPUs: weights and cache are split over them (tensor parallelism).

    Activations: one layer of a batch of `max_num_batched_tokens` tokens, tokens·(4h + 2f) elements (f is the MLP's
    width), and the logits of `max_num_seqs` sequences in float32, V numbers each. Without `kv_cache_gib` the cache is
    what is left of `gpu_memory_utilization` of the GPU.
    """
    devices, terms = max(1, settings.gpus), []
    over = f" / {devices} GPUs" if devices > 1 else ""
    if "quantization" in settings.engine:
        why = f"{settings.engine['quantization']} quantization makes them smaller than their number of parameters says"
        return Estimate((*unknown(UnknownSize(why), "weights"), _cache(settings, None, gpu_gib)))
    try:
        size = sizes.model(settings.model).part("")
    except UnknownSize as error:
        return Estimate((*unknown(error, "weights", "activations"), _cache(settings, None, gpu_gib)))
    width = size.width_as(settings.dtype)
    weights = size.bytes_as(settings.dtype) / devices
    terms.append(Term("weights", weights, f"{parameters(size)} × {width} B{over}"))
    try:
        hidden, inner, words = (setting(size.text, name) for name in ("hidden_size", "intermediate_size", "vocab_size"))
        tokens, seqs = settings.engine.get("max_num_batched_tokens", _BATCHED_TOKENS), settings.max_num_seqs
        activations = tokens * (4 * hidden + 2 * inner / devices) * width + seqs * words * 4
        how = f"{tokens} tokens × (4 × {hidden} + 2 × {inner}{over}) × {width} B + {seqs} × {words} logits × 4 B"
        terms.append(Term("activations", activations, how))
        terms.append(_cache(settings, weights + activations, gpu_gib))
    except UnknownSize as error:
        terms += [*unknown(error, "activations"), _cache(settings, None, gpu_gib)]
    return Estimate(tuple(terms))


def _cache(settings: VlmConfig, beside: float | None, gpu_gib: float | None) -> Term:
    if settings.kv_cache_gib is not None:
        return Term("kv_cache", settings.kv_cache_gib * 2**30, "kv_cache_gib")
    share = settings.engine.get("gpu_memory_utilization", _SHARE)
    if beside is None or gpu_gib is None or not settings.gpus:
        why = f"vLLM fills {share:.0%} of the GPU" if settings.gpus else "vLLM takes what it finds"
        return Term("kv_cache", None, f"{why}; kv_cache_gib sets it")
    left = max(0.0, share * gpu_gib * 2**30 - beside)
    return Term("kv_cache", left, f"gpu_memory_utilization {share:g} × {gpu_gib:g} GiB − {gib(beside)} of the above")


def vlm_training(config: RunConfig, size: ModelSize, *, whole: bool, sees: bool) -> Term:
    """What a forward pass of `micro_batch` answers keeps for the backward pass: text layers, the vision encoder's where
    it trains, logits of all tokens with their gradients, and those of the answers in float32. Each answer is as long as
    a request may be and has an image of its own.

    Args:
        whole: all weights train; else an adapter.
        sees: the vision encoder, or an adapter in it, trains.

    Raises:
        UnknownSize: a setting of the model is missing.
    """
    learner, text, settings = config.learner.actor, size.text, size.settings
    lengths = (config.vlm.actor.max_model_len, *(part.get("max_position_embeddings") for part in (text, settings)))
    length = next((length for length in lengths if length), None)
    if length is None:
        raise UnknownSize("vlm.actor.max_model_len is not set, and the model does not say how long a request may be")
    layers, words = setting(text, "num_hidden_layers"), setting(text, "vocab_size")
    width, batch = DTYPE_BYTES[learner.dtype], learner.micro_batch
    scale = width / 2
    layer = layer_bytes(text, whole=whole) * scale
    hidden = setting(text, "hidden_size")
    tokens = batch * length
    kept, how = held(tokens, layer, hidden * width, layers, again=learner.gradient_checkpointing)
    answer = config.rollout.max_answer_tokens
    logits = 2 * tokens * words * width + batch * answer * words * _PICKED
    how += f" + 2 × {tokens} tokens × {words} logits × {width} B + {batch} × {answer} × {words} × {_PICKED} B"
    vision = settings.get("vision_config") or {}
    depth = vision.get("depth") or vision.get("num_hidden_layers")
    if sees and depth and {"hidden_size", "patch_size"} <= vision.keys():
        size_seen = PictureSize.of(vision["image_size"]) if "image_size" in vision else config.diffuser.size
        patches = batch * prod(size_seen.tokens(vision["patch_size"]))
        inner = vision.get("intermediate_size", 4 * vision["hidden_size"])
        each = layer_bytes({**vision, "intermediate_size": inner}, whole=whole) * scale
        seen, said = held(patches, each, vision["hidden_size"] * width, depth, again=learner.gradient_checkpointing)
        kept, how = kept + seen, f"{how} + vision {said}"
    return Term("activations", kept + logits, how)


def layer_bytes(text: Any, *, whole: bool) -> float:
    """Bytes that a layer keeps of a token for the backward pass in 16 bits: 8f + 14h + 3a with an adapter, f the width
    of its gated MLP and a of all heads, 5(a + k) more where queries and keys (k) are normed, as in Qwen3; where all
    weights train, the linear layers' inputs besides, 4h (and 2(a + k)). Fitted to what autograd saves of layers of
    Qwen2.5-VL-7B and Qwen3-VL-4B in transformers, which the tests measure; attention is fused, so that no matrix of it
    is kept."""
    hidden, inner = setting(text, "hidden_size"), setting(text, "intermediate_size")
    heads = setting(text, "num_attention_heads", "num_heads")
    head = text.get("head_dim") or hidden // heads
    normed = 0
    if str(text.get("model_type", "")).startswith("qwen3"):
        normed = (heads + (text.get("num_key_value_heads") or heads)) * head
    with_adapter = 8 * inner + 14 * hidden + 3 * heads * head + 5 * normed
    return float(with_adapter + (4 * hidden + 2 * normed if whole else 0))


def held(tokens: float, layer: float, row: float, layers: int, *, again: bool) -> tuple[float, str]:
    """Bytes that a forward pass keeps, and the arithmetic. Where layers are computed `again`, the input of each layer
    (`row` bytes a token) is kept, and one layer at a time is whole."""
    if again:
        return tokens * (layer + row * layers), f"{count(tokens)} tokens × ({layer:g} B + {layers} layers × {row:g} B)"
    return tokens * layer * layers, f"{count(tokens)} tokens × {layers} layers × {layer:g} B"
