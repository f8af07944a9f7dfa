"""A worker of vLLM that also says how its layers compute."""

from __future__ import annotations

from typing import Any

import torch

from serving.receiving.adapter_slot import ADAPTER_ID
from serving.receiving.receiver import WeightReports

CHUNK = 128


def inputs(width: int, seed: int) -> torch.Tensor:
    """What a layer is asked about: (`CHUNK`, width) in bfloat16."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(CHUNK, width, generator=generator).bfloat16()


def share(change: torch.Tensor, exact: torch.Tensor) -> tuple[float, float]:
    """⟨change, exact⟩ and ⟨exact, exact⟩."""
    return (change.double() * exact).sum().item(), exact.square().sum().item()


class LayerProbe(WeightReports):
    """Asked with `collective_rpc`."""

    @torch.no_grad()
    def served_share(self, module: str, part: int, scaling: float, chunks: int) -> float:
        """The share of an adapter's exact change, scaling · B·A·x, that a part of a packed layer's output shows."""
        from vllm.lora.layers import LoRAMapping

        manager: Any = self._manager()
        wrapped = manager.modules[module]
        down, up = wrapped.lora_a_stacked[part][0, 0], wrapped.lora_b_stacked[part][0, 0]
        start = sum(each.shape[2] for each in wrapped.lora_b_stacked[:part])
        found, wanted = 0.0, 0.0
        for seed in range(chunks):
            x = inputs(down.shape[1], seed)
            outputs = []
            for adapter in (ADAPTER_ID, 0):
                manager.set_adapter_mapping(LoRAMapping((adapter,) * CHUNK, (adapter,) * CHUNK, is_prefill=True))
                outputs.append(wrapped.apply(x)[:, start : start + up.shape[0]])
            exact = x.double() @ down.double().T @ up.double().T  # B holds alpha / rank already
            one, all_ = share(outputs[0].double() - outputs[1].double(), exact)
            found, wanted = found + one, wanted + all_
        return found / wanted
