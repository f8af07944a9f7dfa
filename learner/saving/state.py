"""Nested state as a safetensors file: tensors as they are, all else as JSON in its head. Reading one executes nothing.

DeepSpeed saves a rank's state by a `CheckpointEngine`; `SafeCheckpointEngine` is one that writes such files.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Iterable
from enum import Enum
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

_STATE = "state"  # key of the head
_SCALARS = (bool, int, float, str, type(None))
_SEQUENCES: dict[str, Callable[[Iterable[Any]], Any]] = {"list": list, "tuple": tuple, "set": set, "size": torch.Size}
_MAPPINGS: dict[str, Callable[[Iterable[tuple[Any, Any]]], Any]] = {"dict": dict, "ordered": OrderedDict}
_KINDS: dict[Any, str] = {container: kind for kind, container in (*_SEQUENCES.items(), *_MAPPINGS.items())}
SUFFIX = ".safetensors"


class NotASavedState(ValueError):
    """A file is not one that `write_state` wrote: the message names it and what is wrong."""


def write_state(state: Any, path: Path) -> None:
    """Write scalars, containers, tensors and DeepSpeed's own records.

    Raises:
        TypeError: the state holds something else; the message says what, and where.
    """
    tensors: dict[str, torch.Tensor] = {}
    tree = _encoded(state, tensors, "state")
    save_file(tensors, path, metadata={_STATE: json.dumps(tree, allow_nan=True)})


def read_state(path: Path) -> Any:
    """What `write_state` wrote, with all tensors on the CPU.

    Raises:
        FileNotFoundError: there is no such file.
        NotASavedState: it is no safetensors file, or its head holds what no state can.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            text = (file.metadata() or {}).get(_STATE)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
        if text is None:
            raise NotASavedState(f"{path}: its head has no {_STATE!r}; give a file that a learner saved")
        return _decoded(json.loads(text), tensors)
    except (SafetensorError, RecursionError, KeyError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, NotASavedState):
            raise
        raise NotASavedState(f"{path}: it is no saved state ({type(error).__name__}: {error})") from error


def _encoded(value: Any, tensors: dict[str, torch.Tensor], where: str) -> Any:
    from deepspeed.runtime.fp16.loss_scaler import LossScalerBase
    from deepspeed.utils.tensor_fragment import fragment_address

    if isinstance(value, Enum):
        return ["enum", type(value).__name__, value.value]
    if isinstance(value, _SCALARS):
        return value
    if isinstance(value, torch.Tensor):
        name = str(len(tensors))
        # A copy, since two names for the same memory are refused.
        tensors[name] = value.detach().to("cpu", copy=True).contiguous()
        return ["tensor", name]
    if isinstance(value, torch.dtype):
        return ["dtype", str(value).removeprefix("torch.")]
    if isinstance(value, fragment_address):
        return ["fragment", value.numel, value.start]
    if isinstance(value, LossScalerBase):
        return ["scaler", type(value).__name__, _pairs(vars(value).items(), tensors, where)]
    kind = _KINDS.get(type(value))
    if kind in _MAPPINGS:
        return [kind, _pairs(value.items(), tensors, where)]
    if kind in _SEQUENCES:
        return [kind, [_encoded(one, tensors, f"{where}[{index}]") for index, one in enumerate(value)]]
    raise TypeError(f"{where} is a {type(value).__name__}, which a checkpoint cannot hold")


def _pairs(items: Iterable[tuple[Any, Any]], tensors: dict[str, torch.Tensor], where: str) -> list[list[Any]]:
    return [[_encoded(key, tensors, where), _encoded(value, tensors, f"{where}.{key}")] for key, value in items]


def _decoded(node: Any, tensors: dict[str, torch.Tensor]) -> Any:
    from deepspeed.runtime.fp16 import loss_scaler
    from deepspeed.runtime.zero.config import ZeroStageEnum
    from deepspeed.utils.tensor_fragment import fragment_address

    if isinstance(node, _SCALARS):
        return node
    kind, *rest = node
    if kind in _SEQUENCES:
        return _SEQUENCES[kind](_decoded(one, tensors) for one in rest[0])
    if kind in _MAPPINGS:
        return _MAPPINGS[kind]((_decoded(key, tensors), _decoded(value, tensors)) for key, value in rest[0])
    if kind == "tensor":
        return tensors[rest[0]]
    if kind == "dtype" and isinstance(dtype := getattr(torch, rest[0]), torch.dtype):
        return dtype
    if kind == "fragment":
        return fragment_address(*(int(number) for number in rest))
    if kind == "enum" and rest[0] == ZeroStageEnum.__name__:
        return ZeroStageEnum(rest[1])
    if kind == "scaler" and rest[0] in ("LossScaler", "DynamicLossScaler"):
        found = object.__new__(getattr(loss_scaler, rest[0]))
        found.__dict__.update({str(_decoded(key, tensors)): _decoded(value, tensors) for key, value in rest[1]})
        return found
    raise ValueError(f"{node!r:.80} stands for nothing that a checkpoint holds")


def with_safe_files(engine: Any) -> Any:
    """A DeepSpeed engine that saves and loads its state by `write_state` and `read_state`, under names that end with
    `.safetensors`; the engine itself."""
    from deepspeed.runtime.checkpoint_engine.checkpoint_engine import CheckpointCommitInfo, CheckpointEngine

    class SafeCheckpointEngine(CheckpointEngine):
        def create(self, info: CheckpointCommitInfo) -> None:
            """Nothing to prepare."""

        def save(self, state_dict: Any, path: str) -> None:
            write_state(state_dict, Path(path))

        def load(self, path: str, map_location: Any = None) -> Any:
            return read_state(Path(path))

        def commit(self, info: CheckpointCommitInfo) -> bool:
            return True

        def preserves_storage_sharing(self) -> bool:
            return False

    def renamed(name_of: Callable[..., str]) -> Callable[..., str]:
        return lambda *given, **more: name_of(*given, **more).removesuffix(".pt") + SUFFIX

    engine.checkpoint_engine = SafeCheckpointEngine()
    engine._get_ckpt_name = renamed(engine._get_ckpt_name)
    engine._get_rank_zero_ckpt_name = renamed(engine._get_rank_zero_ckpt_name)
    engine._copy_recovery_script = lambda save_path: None  # a program, which a checkpoint has no use for
    return engine
