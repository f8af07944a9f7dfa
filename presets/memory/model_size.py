"""How large a model is: from the headers of its safetensors files, or from its configuration. No weights are read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

DTYPE_BYTES = {
    **dict.fromkeys(("float64", "f64", "int64", "i64", "u64"), 8),
    **dict.fromkeys(("float32", "float", "f32", "int32", "i32", "u32"), 4),
    **dict.fromkeys(("bfloat16", "bf16", "float16", "half", "f16", "int16", "i16", "u16"), 2),
    **dict.fromkeys(("f8_e4m3", "f8_e5m2", "int8", "i8", "u8", "bool"), 1),
}
"""Bytes of an element, by the names that safetensors, torch and vLLM give to a number format."""

_VISION = ("visual", "vision")


class UnknownSize(Exception):
    """The size of a model is not known here; the message says of which, why, and what to do.

    Args:
        reason: why, without the model's name; "" is the message.
    """

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason or message


@dataclass(frozen=True)
class ModelSize:
    """Of one model folder.

    Attributes:
        parameters: elements of all tensors.
        stored_bytes: bytes of all tensors, in the number formats that they are stored in.
        shapes: shape of each tensor; empty where only the index of the files is there.
        settings: its config.json.
    """

    parameters: int
    stored_bytes: int
    shapes: Mapping[str, tuple[int, ...]]
    settings: Mapping[str, Any]

    def bytes_as(self, dtype: str) -> int:
        """Bytes of the weights when they are loaded in this number format; `auto` keeps the one that is stored."""
        width = DTYPE_BYTES.get(dtype.lower())
        return self.stored_bytes if width is None else self.parameters * width

    def width_as(self, dtype: str) -> int:
        """Bytes of one element then."""
        return DTYPE_BYTES.get(dtype.lower(), round(self.stored_bytes / max(1, self.parameters)))

    @property
    def vision(self) -> int:
        """Parameters of the part that sees, by the names of its tensors."""
        return sum(prod(shape) for name, shape in self.shapes.items() if sees(name))

    @property
    def text(self) -> Mapping[str, Any]:
        """The settings of the part that reads and writes."""
        return self.settings.get("text_config") or self.settings

    def number(self, *names: str) -> Any:
        """The first of these settings that there is; see `setting`."""
        return setting(self.settings, *names)


def setting(settings: Mapping[str, Any], *names: str) -> Any:
    """The first of these settings that there is.

    Raises:
        UnknownSize: none of them.
    """
    for name in names:
        if settings.get(name) is not None:
            return settings[name]
    raise UnknownSize(f"config.json of the model has no {' and no '.join(names)}")


def sees(name: str) -> bool:
    """Whether a tensor or module belongs to a vision encoder, by its name."""
    return any(part.startswith(_VISION) for part in name.split("."))


def folder_size(folder: Path) -> ModelSize:
    """The size of the weights in a folder that transformers' or diffusers' `save_pretrained` wrote. Where there is an
    index (`*.safetensors.index.json`), only the files that it names count; where these are not there, what it says.

    Raises:
        UnknownSize: no weights, or a file whose header cannot be read.
    """
    settings = _settings(folder)
    index = next(iter(sorted(folder.glob("*.safetensors.index.json"))), None)
    files = sorted(folder.glob("*.safetensors"))
    if index is not None:
        said = _json(index)
        files = [folder / name for name in sorted(set(said.get("weight_map", {}).values()))]
        if not files or not all(path.is_file() for path in files):
            return _size_of_index(index, said.get("metadata", {}), settings)
    if not files:
        raise UnknownSize(f"{folder} holds no .safetensors file")
    return size_of_tensors((tensor for path in files for tensor in _tensors(path)), settings)


def size_of_tensors(tensors: Iterable[tuple[str, tuple[int, ...], str]], settings: Mapping[str, Any]) -> ModelSize:
    """The size of a model with these tensors: name, shape and number format of each; a name counts once.

    Raises:
        UnknownSize: a number format that is not known.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    stored = 0
    for name, shape, dtype in tensors:
        if name not in shapes:
            shapes[name] = shape
            stored += prod(shape) * _width(dtype)
    return ModelSize(sum(map(prod, shapes.values())), stored, shapes, settings)


def size_of_settings(settings: Mapping[str, Any], dtype: str = "bfloat16") -> ModelSize:
    """The size of the model that a config.json describes, made on torch's meta device, where it takes no memory.

    Args:
        dtype: in which its weights are published.

    Raises:
        UnknownSize: it is of no class of diffusers or transformers, or they cannot make it.
    """
    module = network(settings)
    config: Any = module.config
    whole = config.to_dict() if hasattr(config, "to_dict") else dict(config)
    tensors = ((name, tuple(tensor.shape), dtype) for name, tensor in module.named_parameters())
    return size_of_tensors(tensors, {**whole, **settings})


def network(settings: Mapping[str, Any]) -> Any:
    """The torch module that a config.json describes, on the meta device. Raises as `size_of_settings`."""
    from learner.skeleton import described  # it loads torch

    try:
        return described(settings)
    except (OSError, ValueError, TypeError, LookupError, AttributeError, ImportError, RuntimeError) as error:
        raise UnknownSize(f"its configuration makes no model here: {error}") from error


def _tensors(path: Path) -> Iterable[tuple[str, tuple[int, ...], str]]:
    """Name, shape and number format of each tensor of a file."""
    try:
        with safe_open(path, framework="np") as file:
            slices = {name: file.get_slice(name) for name in set(file.keys())}
            return [(name, tuple(part.get_shape()), str(part.get_dtype())) for name, part in slices.items()]
    except (SafetensorError, OSError) as error:
        raise UnknownSize(f"{path} cannot be read: {error}") from error


def _width(dtype: str) -> int:
    width = DTYPE_BYTES.get(dtype.lower())
    if width is None:
        raise UnknownSize(f"the number format {dtype} is not known")
    return width


def _size_of_index(index: Path, said: Mapping[str, Any], settings: Mapping[str, Any]) -> ModelSize:
    stored = said.get("total_size")
    dtype = str(settings.get("dtype") or settings.get("torch_dtype") or "")
    parameters = said.get("total_parameters") or (stored and dtype in DTYPE_BYTES and stored // DTYPE_BYTES[dtype])
    if not stored or not parameters:
        raise UnknownSize(f"{index.parent}: its files are not all there, and {index.name} does not say their sizes")
    return ModelSize(int(parameters), int(stored), {}, settings)


def _settings(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    return _json(path) if path.is_file() else {}


def _json(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UnknownSize(f"{path} cannot be read: {error}") from error
    return found
