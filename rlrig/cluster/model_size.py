"""How large a model is, from the headers of its safetensors files; no weights are read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
from safetensors import SafetensorError, safe_open

from presets.run_file import model_source

if TYPE_CHECKING:
    from weights.lora_config import LoraConfig

DTYPE_BYTES = {
    **dict.fromkeys(("float64", "f64", "int64", "i64", "u64"), 8),
    **dict.fromkeys(("float32", "float", "f32", "int32", "i32", "u32"), 4),
    **dict.fromkeys(("bfloat16", "bf16", "float16", "half", "f16", "int16", "i16", "u16"), 2),
    **dict.fromkeys(("f8_e4m3", "f8_e5m2", "int8", "i8", "u8", "bool"), 1),
}
"""Bytes of an element, by the names that safetensors, torch and vLLM give to a number format."""


class UnknownSize(Exception):
    """The size of a model is not known here; the message says of which, and why."""


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


def local_folder(model: str) -> Path:
    """Where a model lies on this machine: its folder, or that of `hf://owner/name` in the hub's cache.

    Raises:
        UnknownSize: it is on the hub and was never fetched.
    """
    source = model_source(model)
    if Path(source).is_dir():
        return Path(source)
    try:
        return Path(snapshot_download(source, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError) as error:
        raise UnknownSize(f"{model} is not on this machine; `rlrig fetch` brings it here") from error


def model_size(folder: Path) -> ModelSize:
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
    shapes: dict[str, tuple[int, ...]] = {}
    stored = 0
    for path in files:
        for name, shape, width in _tensors(path):
            if name not in shapes:
                shapes[name] = shape
                stored += prod(shape) * width
    return ModelSize(sum(map(prod, shapes.values())), stored, shapes, settings)


def adapter_parameters(size: ModelSize, lora: LoraConfig) -> int:
    """Elements of a LoRA adapter: rank·(in + out) for each matrix (out, in) that `target_modules` stands for (arXiv
    2106.09685, A is (rank, in) and B is (out, rank)). Modules are known by the names of their tensors in the folder.

    Raises:
        UnknownSize: a name or the expression stands for no matrix of the folder.
    """
    matrices = {
        name.removesuffix(".weight"): shape
        for name, shape in size.shapes.items()
        if len(shape) == 2 and name.endswith(".weight")
    }
    patterns = [lora.target_modules] if isinstance(lora.target_modules, str) else lora.target_modules
    chosen: set[str] = set()
    for pattern in patterns:
        found = set(_named(matrices, pattern, whole_path=isinstance(lora.target_modules, str)))
        if not found:
            raise UnknownSize(f"lora.target_modules {pattern!r} stands for no matrix that is named in the model folder")
        chosen |= found
    return sum(lora.rank * sum(matrices[name]) for name in chosen)


def _named(names: Iterable[str], pattern: str, *, whole_path: bool) -> Iterable[str]:
    """The names that a pattern stands for, by peft's own rule."""
    if whole_path:
        return (name for name in names if re.fullmatch(pattern, name))
    return (name for name in names if name == pattern or name.endswith(f".{pattern}"))


def _tensors(path: Path) -> Iterable[tuple[str, tuple[int, ...], int]]:
    """Name, shape and bytes of an element, of each tensor of a file."""
    try:
        with safe_open(path, framework="np") as file:
            slices = {name: file.get_slice(name) for name in set(file.keys())}
            return [(name, tuple(part.get_shape()), _width(part.get_dtype())) for name, part in slices.items()]
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
