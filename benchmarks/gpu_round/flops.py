"""Floating-point operations of an update, from the shapes of matrices and the tokens that go through them.

- A matrix of N elements takes 2·N operations a token. With a gradient for its inputs that is 4·N, with one for itself,
  too, 6·N (Kaplan et al., arXiv 2001.08361, table 1 and section 2.1): 6·N a token where everything trains, 4·N where an
  adapter trains beside frozen weights. The adapter's own matrices, below 1 % of these, are left out.
- Attention takes 4·h·S² a layer and sequence of S tokens, h the width of all heads, and twice that backward:
  12·h·S² (PaLM, arXiv 2204.02311, appendix B: 12·L·H·Q·T a token). A causal mask halves nothing, as there.
- MFU counts just these. HFU counts layers that are computed again in the backward pass, too (appendix B of PaLM).
- What no gradient flows through, a vision encoder without an adapter, counts its forward pass. Text encoders and VAE of
  an editor's learner are not the network that trains, and do not count.

`tests/benchmarks/gpu_round/test_flops.py` compares with what torch counts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from presets.memory.image_models import Geometry
from presets.memory.model_size import ModelSize, UnknownSize, sees, setting

PEAK_TFLOPS = {
    "B200": 2250.0, "H200": 989.4, "H100 NVL": 835.5, "H100 PCIe": 756.0, "H100": 989.4, "H800": 989.4, "A100": 312.0,
    "A800": 312.0, "L40S": 362.05, "RTX 6000 Ada": 364.2, "A6000": 154.8, "RTX 5090": 209.5, "RTX 4090": 165.2,
}  # fmt: skip
"""Dense bfloat16 operations with float32 sums a second, in 10¹², of NVIDIA's data sheets, by a part of the name; the
first that fits holds."""

_ONCE = r"time_|norm_out\.|.*_modulation|(single_)?transformer_blocks\.\d+\.norm"
_TEXT = r"context_embedder\.|transformer_blocks\.\d+\.(attn\.(add_|to_add_out)|ff_context\.)"
_IMAGE = r"x_embedder\.|proj_out\.|transformer_blocks\.\d+\.(attn|ff)\."
_ALL = r"single_transformer_blocks\."
_NOT_MULTIPLIED = ("embed_tokens.weight", "pos_embed.weight")


@dataclass(frozen=True)
class Flops:
    """Operations of a forward pass.

    Attributes:
        matrices: with the weights.
        attention: of scores, and of their product with values.
        apart: of what no gradient flows through.
    """

    matrices: float
    attention: float
    apart: float = 0.0

    def __add__(self, other: Flops) -> Flops:
        return Flops(self.matrices + other.matrices, self.attention + other.attention, self.apart + other.apart)

    def __mul__(self, times: float) -> Flops:
        return Flops(self.matrices * times, self.attention * times, self.apart * times)

    def training(self, *, whole: bool, again: bool = False) -> float:
        """Of forward and backward pass.

        Args:
            whole: all weights train; else an adapter.
            again: count layers that are computed again in the backward pass.
        """
        backward = (2 if whole else 1) * self.matrices + 2 * self.attention
        forward = self.matrices + self.attention
        return forward * (2 if again else 1) + backward + self.apart


def peak_tflops(name: str) -> float | None:
    """What a GPU of this name can do; None where it is not known."""
    return next((peak for part, peak in PEAK_TFLOPS.items() if part in name), None)


def flow_pass(transformer: ModelSize, sample: Geometry) -> Flops:
    """One denoising step of one edit by a FLUX transformer. Text and image have matrices of their own in its double
    blocks, and what comes from the noise level is computed once.

    Raises:
        UnknownSize: a matrix of which it is not known what goes through it.
    """
    rows = {_ONCE: 1, _TEXT: sample.text, _IMAGE: sample.own + sample.source, _ALL: sample.tokens}

    def of(name: str) -> int:
        for pattern, count in rows.items():
            if re.match(pattern, name):
                return count
        raise UnknownSize(f"it is not known how many tokens go through {name}")

    return Flops(_multiplied(transformer.shapes, of), 4.0 * sample.width * sample.tokens**2 * sample.blocks)


def vlm_pass(size: ModelSize, lengths: Sequence[int], patches: Sequence[int]) -> Flops:
    """A forward pass over answers of a Qwen-VL model whose vision encoder is frozen.

    Args:
        lengths: tokens of each answer with its prompt.
        patches: of each image that is encoded.

    Raises:
        UnknownSize: a setting of the model is missing.
    """
    text, vision = size.text, size.settings.get("vision_config") or {}
    merged = setting(vision, "spatial_merge_size") ** 2
    hidden, heads = setting(text, "hidden_size"), setting(text, "num_attention_heads")
    width = heads * (text.get("head_dim") or hidden // heads)
    reads = {name: shape for name, shape in size.shapes.items() if not sees(name)}
    seeing = {name: shape for name, shape in size.shapes.items() if sees(name)}
    matrices = _multiplied(reads, lambda _: sum(lengths))
    if not any(name.endswith("lm_head.weight") for name in reads):  # it is the matrix of the embeddings
        matrices += 2.0 * hidden * setting(text, "vocab_size") * sum(lengths)
    squares = sum(length**2 for length in lengths)
    attention = 4.0 * width * squares * setting(text, "num_hidden_layers")
    apart = _multiplied(seeing, lambda name: sum(patches) // (merged if "merger" in name else 1))
    apart += 4.0 * setting(vision, "hidden_size") * sum(count**2 for count in patches) * setting(vision, "depth")
    return Flops(matrices, attention, apart)


def _multiplied(shapes: Mapping[str, tuple[int, ...]], rows: Callable[[str], int]) -> float:
    """2·N for each matrix and each row that goes through it."""
    return sum(
        2.0 * prod(shape) * rows(name)
        for name, shape in shapes.items()
        if len(shape) > 1 and not name.endswith(_NOT_MULTIPLIED)
    )
