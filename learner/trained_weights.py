"""What a policy trains, sends and writes: all weights of its model, or a LoRA adapter in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from learner.saving.shards import write_shards
from weights.adapter import Survival
from weights.adapter_spec import AdapterSpec
from weights.lora import ADAPTER, adapted_layers, adapter_tensors, add_adapter, plain_name, spec_of
from weights.lora_config import LoraConfig
from weights.parts import distinct, parts, whole

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Written:
    """What an export leaves: a copy of the adapter, what belongs to it, and the share of its change that the written
    weights hold, see `weights.adapter.Survival`."""

    adapter: dict[str, torch.Tensor]
    spec: AdapterSpec
    surviving: float


class TrainedWeights:
    """The weights of one model. Once ZeRO-3 has split them, all ranks make a call that says so together.

    Args:
        module: a transformers or diffusers model.
        lora: put an adapter in and train only that; None trains every parameter.
        seed: of the adapter's first values.
        folder_names: name of each tensor in a model folder by its name in the module, where they differ.

    Raises:
        ValueError: the adapter cannot be put in; see `weights.lora.bindings`.
    """

    def __init__(
        self, module: Any, lora: LoraConfig | None, seed: int, folder_names: Mapping[str, str] | None = None
    ) -> None:
        self._module, self._lora = module, lora
        self._names = {name: (folder_names or {}).get(name, name) for name in module.state_dict()}
        self._spec: AdapterSpec | None = None
        module.requires_grad_(lora is None)
        if lora is not None:
            add_adapter(module, lora, seed)

    def tensors(self) -> dict[str, torch.Tensor]:
        """What is trained and sent: the whole state under the names of model folders, or the adapter's tensors."""
        return self._state() if self._lora is None else adapter_tensors(self._module)

    def spec(self) -> AdapterSpec | None:
        """What belongs to the adapter besides its tensors; None without one. A call of all ranks."""
        if self._lora is not None and self._spec is None:
            self._spec = spec_of(self._module, self._lora, self._names)
        return self._spec

    def write(self, folder: Path | None, stem: str) -> Written | None:
        """Write all weights as `stem` files, what the adapter changes included, and return a copy of the adapter.

        A call of all ranks; those that give no folder take part in gathering only.
        """
        survival = Survival()
        write_shards(folder, stem, self._merged(survival))
        spec = self.spec()
        if spec is None:
            return None
        adapter = {name: tensor.detach().clone() for part in parts(self.tensors()) for name, tensor in part.items()}
        return Written(adapter, spec, survival.share)

    def _state(self) -> dict[str, torch.Tensor]:
        state = {plain_name(name): tensor for name, tensor in self._module.state_dict(keep_vars=True).items()}
        return {folder_name: state[name] for name, folder_name in self._names.items()}

    @torch.no_grad()
    def _merged(self, survival: Survival) -> Iterator[dict[str, torch.Tensor]]:
        layers = {self._names[f"{name}.weight"]: layer for name, layer in adapted_layers(self._module).items()}
        for part in parts(distinct(self._state())[0]):
            tensors = dict(part)
            for name in part:  # in an order that is the same on all ranks
                if layer := layers.get(name):
                    down, up = layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight
                    with whole((down, up)):
                        change = (up.float() @ down.float()) * layer.scaling[ADAPTER]
                    tensors[name] = (part[name].float() + change).to(part[name].dtype)
                    survival.add(part[name], change, tensors[name])
            yield tensors


def folder_names(module: PreTrainedModel) -> dict[str, str]:
    """Name of each tensor in a model folder by its name in the module: transformers renames some when it loads them.

    Raises:
        ValueError: a tensor that is not only renamed but also put together from several.
    """
    from transformers.core_model_loading import revert_weight_conversion

    state = module.state_dict()
    found = {id(tensor): name for name, tensor in revert_weight_conversion(module, dict(state)).items()}
    names = {name: found[id(tensor)] for name, tensor in state.items() if id(tensor) in found}
    if changed := sorted(state.keys() - names.keys()):
        raise ValueError(
            f"{type(module).__name__}: transformers puts {len(changed)} tensors together from others when it loads "
            f"them ({changed[0]}), so that they could not be sent under the names of the folder; train another model"
        )
    return names
