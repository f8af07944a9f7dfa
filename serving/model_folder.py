"""What lies in a model folder, before and while an engine loads it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError, safe_open

if TYPE_CHECKING:
    from weights.manifest import Manifest


class BrokenModelFolder(ValueError):
    """A model folder that no engine could load."""


def check_model_folder(model: str) -> None:
    """Look at the headers and sizes of the safetensors files; a hub id is left to the hub.

    Raises:
        BrokenModelFolder: no weights, or a file that is damaged or cut short.
    """
    folder = Path(model)
    if not folder.is_dir():
        return
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise BrokenModelFolder(f"{folder} holds no .safetensors file; write one with save_pretrained")
    for path in files:
        try:
            with safe_open(path, framework="np") as file:
                file.keys()
        except (SafetensorError, OSError) as error:
            raise BrokenModelFolder(f"{path} is damaged ({error}); restore it or write the model again") from error


def check_names(model: str, manifest: Manifest) -> None:
    """Refuse an update that has not exactly the tensors of the folder: an engine would end up half loaded.

    Raises:
        WeightMismatch: a tensor that the folder does not have, has in another shape, or has beyond the manifest.
    """
    from weights.manifest import WeightMismatch

    shapes = _folder_shapes(model)
    if not shapes:
        return
    where = f"policy {manifest.policy!r} version {manifest.version}, model folder {model}"
    for spec in manifest.tensors:
        if spec.name not in shapes:
            raise WeightMismatch(f"{where}: the model has no tensor {spec.name!r}")
        if spec.shape != shapes[spec.name]:
            raise WeightMismatch(f"{where}: tensor {spec.name!r} has shape {spec.shape}, not {shapes[spec.name]}")
    if missing := sorted(shapes.keys() - manifest.checksums.keys() - dict(manifest.aliases).keys()):
        raise WeightMismatch(f"{where}: the update lacks {len(missing)} tensors of the model: {', '.join(missing[:5])}")


def folder_checksums(model: str, manifest: Manifest) -> dict[str, str] | None:
    """Checksum of each tensor of `manifest` as the folder holds it.

    None if `model` is no folder, or if the folder lacks one of the names.
    """
    from weights.checksums import tensor_checksum

    wanted = manifest.checksums.keys()
    found: dict[str, str] = {}
    for path in sorted(Path(model).glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            found |= {name: tensor_checksum(file.get_tensor(name)) for name in file.keys() & wanted}
    return found if found.keys() == wanted else None


def _folder_shapes(model: str) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for path in sorted(Path(model).glob("*.safetensors")):
        with safe_open(path, framework="np") as file:
            shapes |= {name: tuple(file.get_slice(name).get_shape()) for name in set(file.keys())}
    return shapes
