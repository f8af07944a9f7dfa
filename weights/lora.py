"""LoRA adapters in a model that trains: peft puts them in, here is what is adapted and which tensors they are."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import peft
import torch
from peft.tuners.lora import LoraLayer

from weights.adapter import base_digest
from weights.adapter_spec import AdapterSpec, Target
from weights.lora_config import LoraConfig
from weights.manifest import dtype_of
from weights.parts import parts

ADAPTER = "default"
_EXAMPLES = 12


def bindings(module: torch.nn.Module, lora: LoraConfig) -> list[str]:
    """Names of the modules that `lora.target_modules` stand for; the module may be on the meta device.

    Raises:
        ValueError: a pattern stands for no module, for one that is not a linear layer, or for one whose matrix another
            module uses too.
    """
    modules = dict(module.named_modules())
    linear = [name for name, part in modules.items() if isinstance(part, torch.nn.Linear)]
    where = f"lora.target_modules {lora.target_modules!r}, {type(module).__name__}"
    bound: set[str] = set()
    for pattern in [lora.target_modules] if isinstance(lora.target_modules, str) else lora.target_modules:
        found = [name for name in modules if name and _stands_for(lora, pattern, name)]
        if not found:
            ends = Counter(end for name in linear if not (end := name.rpartition(".")[2]).isdigit())
            raise ValueError(
                f"{where}: {pattern!r} binds to zero modules; linear layers that exist are, for example, "
                f"{linear[len(linear) // 2]}, and all that end with "
                f"{', '.join(end for end, _ in ends.most_common(_EXAMPLES))}"
            )
        if strange := [name for name in found if name not in linear]:
            raise ValueError(
                f"{where}: {pattern!r} binds to {strange[0]}, a {type(modules[strange[0]]).__name__}; only linear "
                "layers can be adapted, name those"
            )
        bound |= set(found)
    uses = Counter(id(tensor) for _, tensor in module.named_parameters(remove_duplicate=False))
    if tied := sorted(name for name in bound if uses[id(modules[name].weight)] > 1):
        raise ValueError(f"{where}: {tied[0]} shares its matrix with another module; leave it out")
    return [name for name in modules if name in bound]


def add_adapter(module: Any, lora: LoraConfig, seed: int) -> None:
    """Freeze a transformers or diffusers model and add an adapter that changes nothing yet (B is zero, A is random).

    Raises:
        ValueError: see `bindings`.
    """
    wanted = bindings(module, lora)
    targets = lora.target_modules if isinstance(lora.target_modules, str) else list(lora.target_modules)
    config = peft.LoraConfig(r=lora.rank, lora_alpha=lora.alpha, target_modules=targets)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module.add_adapter(config, adapter_name=ADAPTER)
    if (adapted := list(adapted_layers(module))) != wanted:
        raise ValueError(
            f"peft adapted {len(adapted)} layers, not the {len(wanted)} of lora.target_modules: {wanted[:3]}"
        )


def add_received(module: Any, spec: AdapterSpec) -> None:
    """Put the adapter of a spec into a model, in the learner's number format; its values are to be loaded.

    Raises:
        ValueError: see `bindings`.
    """
    paths = "|".join(re.escape(target.module) for target in spec.targets)
    add_adapter(module, LoraConfig(rank=spec.rank, alpha=spec.alpha, target_modules=paths), seed=0)
    module.requires_grad_(False)
    for tensor in adapter_tensors(module).values():
        tensor.data = tensor.data.to(dtype_of(spec.dtype))


def adapted_layers(module: torch.nn.Module) -> dict[str, LoraLayer]:
    """The adapted layers by module name."""
    return {name: part for name, part in module.named_modules() if isinstance(part, LoraLayer)}


def adapter_tensors(module: Any) -> dict[str, torch.Tensor]:
    """The adapter's parameters, under the names in which they are sent."""
    state = module.state_dict(keep_vars=True)
    sent: dict[str, torch.Tensor] = peft.get_peft_model_state_dict(module, state, ADAPTER, save_embedding_layers=False)
    return sent


def plain_name(name: str) -> str:
    """The name that a parameter of the model had before the adapter was added."""
    return name.replace(".base_layer.", ".")


def spec_of(module: Any, lora: LoraConfig, names: dict[str, str]) -> AdapterSpec:
    """What receivers of the adapter must know. All ranks must call it together.

    Args:
        names: name of each matrix in a model folder, by its name in the module.
    """
    layers = adapted_layers(module)
    targets = tuple(Target(name, names[f"{name}.weight"]) for name in layers)
    weights = {target.weight: layers[target.module].get_base_layer().weight for target in targets}
    dtype = str(next(iter(weights.values())).dtype).removeprefix("torch.")
    base = base_digest((pair for part in parts(weights) for pair in part.items()), dtype)
    return AdapterSpec(lora.rank, lora.alpha, targets, dtype, base)


@contextmanager
def without_adapter(module: Any) -> Iterator[None]:
    """Let the model compute as it did before the adapter was added."""
    module.disable_adapters()
    try:
        yield
    finally:
        module.enable_adapters()


@contextmanager
def starting_model(module: Any, reference: Any) -> Iterator[Any]:
    """The model that training started from, without gradients: its frozen copy where there is one, or else the module
    without its adapter."""
    with torch.no_grad(), without_adapter(module) if reference is None else nullcontext():
        yield module if reference is None else reference


def _stands_for(lora: LoraConfig, pattern: str, name: str) -> bool:
    """peft's own rule."""
    if isinstance(lora.target_modules, str):
        return re.fullmatch(pattern, name) is not None
    return name == pattern or name.endswith(f".{pattern}")
