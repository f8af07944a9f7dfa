"""Adapters that an engine keeps beside its weights, with vLLM's own LoRA, as the learner does: nothing is added up, so
no number format rounds the change away, and only the adapter is moved."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from safetensors.torch import save_file
from vllm.lora.request import LoRARequest

from serving.receiving.adapter_slot import ADAPTER_ID, TENSORS, file_names
from serving.receiving.base_model import BaseModel
from weights.manifest import WeightMismatch, WeightUpdate, unpack

if TYPE_CHECKING:
    import torch
    from vllm.v1.engine.async_llm import AsyncLLM

    from weights.adapter_spec import AdapterSpec, Target


class AdapterBeside:
    """The adapter of one engine.

    Attributes:
        request: what a request says that is to be answered with the adapter; None before the first one.
    """

    def __init__(self, base: BaseModel, engine: AsyncLLM, policy: str) -> None:
        self._base, self._engine, self._policy = base, engine, policy
        self.request: LoRARequest | None = None

    def checked(self, where: str, update: WeightUpdate) -> dict[str, torch.Tensor]:
        """The tensors of an update whose buckets are in local memory.

        Raises:
            WeightMismatch: damaged bytes, or an adapter that does not fit the model or was trained on other weights.
        """
        spec = _spec(update)
        tensors = dict(unpack(update))
        with self._base.opened() as files:
            self._base.check(where, spec, tensors, files)
        return tensors

    async def refuse_unbound(self, where: str, update: WeightUpdate) -> None:
        """Refuse an adapter for layers that the engine cannot adapt; it would leave them out without a word.

        Raises:
            WeightMismatch: names them, and what to do.
        """
        targets = {_layer(target): target.module for target in _spec(update).targets}
        answers: list[list[str]] = await self._engine.collective_rpc("layers_without_slot", args=(list(targets),))
        if unbound := [targets[layer] for layer in targets if any(layer in answer for answer in answers)]:
            raise WeightMismatch(
                f"{where}: vLLM can hold no adapter beside {len(unbound)} of {len(targets)} layers: "
                f"{', '.join(unbound[:3])}; leave them out of learner.actor.lora.target_modules, or set "
                "vlm.actor.adapter=merged. For those of the vision encoder vlm.actor.engine="
                "{enable_tower_connector_lora: true} may help"
            )

    async def load(
        self, update: WeightUpdate, tensors: dict[str, torch.Tensor], touched: Callable[[], None]
    ) -> list[dict[str, Any]]:
        """Put checked tensors into the engine, in the place of those before; a report from each of its workers, with
        the checksums of what they hold by manifest name. `touched` is called when the engine begins to change."""
        spec = _spec(update)
        names = {
            file_name: name
            for target in spec.targets
            for file_name, name in zip(file_names(_layer(target)), target.names, strict=True)
        }
        config = {
            "peft_type": "LORA",
            "r": spec.rank,
            "lora_alpha": spec.alpha,
            "target_modules": sorted({target.module.rpartition(".")[2] for target in spec.targets}),
        }
        with TemporaryDirectory(prefix="rl-rig-adapter-") as folder:
            save_file({file: tensors[name].contiguous() for file, name in names.items()}, Path(folder) / TENSORS)
            (Path(folder) / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
            touched()
            await self._engine.add_lora(LoRARequest(self._policy, ADAPTER_ID, folder, load_inplace=True))
            layers = [_layer(target) for target in spec.targets]
            found: list[dict[str, str]] = await self._engine.collective_rpc(
                "adapter_report", args=(folder, layers, spec.alpha / spec.rank)
            )
        self.request = LoRARequest(self._policy, ADAPTER_ID, "it is loaded")
        return [{"checksums": {names.get(file, file): value for file, value in each.items()}} for each in found]


def _layer(target: Target) -> str:
    """A target's name in the model folder."""
    return target.weight.removesuffix(".weight")


def _spec(update: WeightUpdate) -> AdapterSpec:
    spec = update.manifest.adapter
    assert spec is not None, "these are all weights, no adapter"
    return spec
