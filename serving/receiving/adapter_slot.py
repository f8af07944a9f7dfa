"""In vLLM's worker: which of its layers an adapter belongs to, and what they hold of it.

vLLM keeps an adapter in a slot of each layer that it has wrapped: A as it is, B times alpha / rank, both padded with
zeros up to the greatest rank. A layer that vLLM has packed from several (q, k and v are one) has a part for each. It
drops the tensors of a layer that it has not wrapped without a word, so here is asked for each of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file
from vllm.lora.utils import parse_fine_tuned_lora_name

from weights.checksums import tensor_checksum

if TYPE_CHECKING:
    from vllm.lora.model_manager import LoRAModelManager

ADAPTER_ID = 1
TENSORS = "adapter_model.safetensors"
_PREFIX = "base_model.model."  # peft's, which vLLM expects


def file_names(layer: str) -> tuple[str, str]:
    """Names of A and B of a layer, which is named as in the model folder, in an adapter's file."""
    return f"{_PREFIX}{layer}.lora_A.weight", f"{_PREFIX}{layer}.lora_B.weight"


class AdapterSlot:
    """The slot of the only adapter in all layers of a worker."""

    model_runner: Any

    def layers_without_slot(self, layers: Sequence[str]) -> list[str]:
        """Those of these layers, named as in the model folder, for which this engine can hold no adapter."""
        manager = self._manager()
        places = _places(manager)
        return [layer for layer in layers if _engine_name(manager, layer) not in places]

    def adapter_report(self, folder: str, layers: Sequence[str], scaling: float) -> dict[str, str]:
        """Checksums of an adapter as the layers hold it, by the names of the tensors in its file: that of the file's
        own tensor where the slot holds exactly this, and nothing beside it; another one where it does not.

        Args:
            folder: of the adapter that was loaded.
            layers: that it changes, named as in the model folder.
            scaling: alpha / rank.
        """
        manager, sent = self._manager(), load_file(str(Path(folder) / TENSORS))
        slot, places = manager.lora_index_to_id.index(ADAPTER_ID), _places(manager)
        wanted: dict[str, dict[int, str]] = {}
        for layer in layers:
            module, part = places[_engine_name(manager, layer)]
            wanted.setdefault(module, {})[part] = layer
        checksums: dict[str, str] = {}
        for module, wrapped in manager.modules.items():
            checksums |= _held(module, wrapped, slot, wanted.get(module, {}), sent, scaling)
        return checksums

    def _manager(self) -> LoRAModelManager:
        manager: LoRAModelManager = self.model_runner.lora_manager._adapter_manager
        return manager


def _engine_name(manager: LoRAModelManager, layer: str) -> str:
    """A layer's name in the engine, by vLLM's own rule for the names in an adapter's file."""
    mapper = getattr(manager.model, "hf_to_vllm_mapper", None)
    name, _ = parse_fine_tuned_lora_name(file_names(layer)[0], mapper and mapper.get_rename_mapper())
    return str(name)


def _places(manager: LoRAModelManager) -> dict[str, tuple[str, int]]:
    """Wrapped module and part of it, by the name of a layer in the engine."""
    found = {name: (name, 0) for name in manager.modules}
    for module, parts in manager.packed_modules.items():
        found |= {name: (module, part) for part, name in enumerate(parts)}
    return found


@torch.no_grad()
def _held(
    module: str, wrapped: Any, slot: int, parts: Mapping[int, str], sent: Mapping[str, torch.Tensor], scaling: float
) -> dict[str, str]:
    """Checksums as in `AdapterSlot.adapter_report`, of one wrapped module."""
    downs, ups = (
        list(stacked) if isinstance(stacked, (tuple, list)) else [stacked]
        for stacked in (wrapped.lora_a_stacked, wrapped.lora_b_stacked)
    )
    down_sent: list[torch.Tensor | None] = [None] * len(downs)
    up_sent: list[torch.Tensor | None] = [None] * len(ups)
    for part, layer in parts.items():
        down, up = (sent[name].to(downs[part].dtype) for name in file_names(layer))
        down_sent[part], up_sent[part] = down, up if scaling == 1 else up * scaling
    down_sent, up_sent = _cut(wrapped, down_sent, "slice_lora_a"), _cut(wrapped, up_sent, "slice_lora_b")
    checksums: dict[str, str] = {}
    for part, (down_held, up_held) in enumerate(zip(downs, ups, strict=True)):
        names = file_names(parts[part]) if part in parts else (f"{module}#{part}.A", f"{module}#{part}.B")
        for name, held, wants in zip(names, (down_held, up_held), (down_sent[part], up_sent[part]), strict=True):
            values = held[slot, 0].cpu()
            if wants is None:
                if values.count_nonzero():  # something that nobody sent
                    checksums[name] = tensor_checksum(values)
                continue
            rows, columns = wants.shape
            same = torch.equal(values[:rows, :columns], wants) and values.count_nonzero() == wants.count_nonzero()
            checksums[name] = tensor_checksum(sent[name] if same else values)
    return checksums


def _cut(wrapped: Any, tensors: list[torch.Tensor | None], method: str) -> list[torch.Tensor | None]:
    """The share of tensors that a worker holds which works with others (not run with several)."""
    if getattr(wrapped, "tp_size", 1) == 1:
        return tensors
    if len(tensors) > 1:
        return list(getattr(wrapped, method)(tensors))
    return [None if each is None else getattr(wrapped, method)(each) for each in tensors]
