"""Where the sizes of a run's models come from: a folder, the hub's cache, the hub, or a published configuration."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from presets.disk import USUAL_LATENTS
from presets.memory.hub import INDEX, Unreachable, hub_parts, parts_of_index
from presets.memory.model_size import ModelSize, UnknownSize, folder_size, network, sees, size_of_settings
from presets.memory.published import PIPELINES, VLMS
from presets.run_file import model_source

if TYPE_CHECKING:
    from weights.lora_config import LoraConfig

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")
_HERE = "the headers of their files on this machine"


@dataclass(frozen=True)
class Model:
    """A model's parts.

    Attributes:
        parts: sizes by folder; a model without parts has one, "".
        pipeline: class that a pipeline's index names; "" for others.
        source: where the sizes come from, for people.
    """

    parts: Mapping[str, ModelSize]
    pipeline: str
    source: str

    def part(self, name: str) -> ModelSize:
        """One part.

        Raises:
            UnknownSize: there is none of that name.
        """
        if name not in self.parts:
            raise UnknownSize(f"it holds no {name or 'weights of one model'}, only {', '.join(self.parts)}")
        return self.parts[name]


@dataclass(frozen=True)
class Adapter:
    """Elements of a LoRA adapter, and whether a vision encoder has a part of it."""

    parameters: int
    sees: bool


class Sizes:
    """Sizes of models, each looked up once. They are local, or the hub is asked: for headers, within a deadline; where
    it cannot be reached it is not asked again.

    Args:
        ask_hub: whether the hub may be asked.
    """

    def __init__(self, ask_hub: bool = True) -> None:
        self._unreachable = None if ask_hub else "the hub is not asked"
        self._found: dict[str, Model | UnknownSize] = {}
        self._adapters: dict[tuple[str, str, str], Adapter | UnknownSize] = {}

    @property
    def sources(self) -> dict[str, str]:
        """Where the size of each model that was looked up comes from, by its name in the run file."""
        return {name: it.source for name, it in self._found.items() if isinstance(it, Model)}

    def model(self, name: str) -> Model:
        """The sizes of a folder, or of `hf://owner/name`.

        Raises:
            UnknownSize: they cannot be found out; the message says why, and what to do.
        """
        key = model_source(name)
        return _once(self._found, key, lambda: self._looked_up(key))

    def adapter(self, name: str, part: str, lora: LoraConfig) -> Adapter:
        """A LoRA adapter of a model's part: rank·(in + out) elements for each matrix (out, in) that `target_modules`
        stands for (arXiv 2106.09685: A is (rank, in), B is (out, rank)), by the rule that the learner binds it by.

        Raises:
            UnknownSize: the size or configuration is not known, or the adapter binds to nothing.
        """
        key = (model_source(name), part, lora.model_dump_json())
        return _once(self._adapters, key, lambda: adapter_of(self.model(name).part(part), lora))

    def _looked_up(self, key: str) -> Model:
        folder = Path(key) if Path(key).is_dir() else _cached(key)
        if folder is not None and (folder / INDEX).is_file():
            try:
                return _of_pipeline(folder)
            except UnknownSize:
                if folder == Path(key):
                    raise
        elif folder is not None:
            try:
                return Model({"": folder_size(folder)}, "", _HERE)
            except UnknownSize:
                if folder == Path(key):
                    raise
        try:
            if self._unreachable is not None:
                raise Unreachable(key, self._unreachable)
            pipeline, parts = hub_parts(key)
            return Model(parts, pipeline, "the headers of their files on the hub")
        except UnknownSize as error:
            if isinstance(error, Unreachable):
                self._unreachable = error.reason
            if (known := _published(key)) is None:
                raise
            return Model(known.parts, known.pipeline, f"{known.source}, as {error.reason}")


def _once(found: dict[_Key, _Value | UnknownSize], key: _Key, look_up: Callable[[], _Value]) -> _Value:
    """What `look_up` gives, or raises, which is asked once for each key.

    Raises:
        UnknownSize: as `look_up`.
    """
    if key not in found:
        try:
            found[key] = look_up()
        except UnknownSize as error:
            found[key] = error
    known = found[key]
    if isinstance(known, UnknownSize):
        raise known
    return known


def latent_shape(pipeline: str, sizes: Sizes) -> tuple[int, int]:
    """Channels of the latents of a pipeline's VAE, and pixels of a latent's side; the usual ones where it is not known,
    or does not say."""
    try:
        vae = sizes.model(pipeline).part("vae").settings
    except UnknownSize:
        return USUAL_LATENTS
    channels, levels = (
        vae.get("latent_channels") or vae.get("z_dim"),
        vae.get("block_out_channels") or vae.get("dim_mult"),
    )
    return (channels, 2 ** (len(levels) - 1)) if channels and levels else USUAL_LATENTS


def pipeline_settings(name: str) -> tuple[str, Mapping[str, Mapping[str, Any]]]:
    """Class of a pipeline, and the configurations of its VAE and transformer: of a folder, of the hub's cache, or as
    they come with the code. The hub is not asked, and no size is worked out.

    Raises:
        UnknownSize: they are not known here.
    """
    key = model_source(name)
    folder = Path(key) if Path(key).is_dir() else _cached(key)
    try:
        if folder is not None and (folder / INDEX).is_file():
            index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
            files = {part: folder / part / "config.json" for part in ("vae", "transformer")}
            settings = {part: json.loads(file.read_text(encoding="utf-8")) for part, file in files.items()}
            return str(index.get("_class_name", "")), settings
    except (OSError, ValueError, AttributeError) as error:
        raise UnknownSize(f"{folder}: its configuration cannot be read: {error}") from error
    if key not in PIPELINES:
        raise UnknownSize(f"{key} is not on this machine, and its configuration is not published here")
    return PIPELINES[key]


def adapter_of(size: ModelSize, lora: LoraConfig) -> Adapter:
    """See `Sizes.adapter`."""
    from weights.lora import bindings  # it loads torch and peft

    module = network(size.settings)
    try:
        bound = bindings(module, lora)
    except ValueError as error:
        raise UnknownSize(str(error)) from error
    layers = [module.get_submodule(name) for name in bound]
    elements = sum(lora.rank * (layer.in_features + layer.out_features) for layer in layers)
    return Adapter(elements, any(map(sees, bound)))


def _cached(name: str) -> Path | None:
    """Where the hub's cache has a model, perhaps not all of it."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError):
        return None


def _of_pipeline(folder: Path) -> Model:
    """The sizes of a pipeline whose fetch was not cut off: a part with a config.json is a model, and has weights."""
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        pipeline, named = str(index.get("_class_name", "")), parts_of_index(index)
    except (OSError, ValueError, AttributeError) as error:
        raise UnknownSize(f"{folder / INDEX} cannot be read: {error}") from error
    names = {path.parent.name for path in folder.glob("*/*.safetensors*")}
    models = {part for part in named if (folder / part / "config.json").is_file() or not (folder / part).is_dir()}
    if missing := ({"vae", "transformer"} | models) - names:
        raise UnknownSize(f"{folder} holds no weights of {' and '.join(sorted(missing))}")
    return Model({name: folder_size(folder / name) for name in sorted(names)}, pipeline, _HERE)


def _published(name: str) -> Model | None:
    """A model whose configuration comes with the code."""
    pipeline, settings = PIPELINES.get(name, ("", {"": VLMS[name]} if name in VLMS else {}))
    if not settings:
        return None
    parts = {part: size_of_settings(config) for part, config in settings.items()}
    return Model(parts, pipeline, "published configurations")
