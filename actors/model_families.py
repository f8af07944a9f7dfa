"""Which family of image models a pipeline folder holds. The folder says it, unless the user brings other code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from diffusers import DiffusionPipeline

from actors.any_drawer import AnyDrawer, draws
from actors.flux2_model import Flux2KleinModel
from actors.flux_model import FluxModel
from actors.image_model import ImageModel
from actors.pipelines.folder import INDEX, ModelLoadError, check_index
from actors.qwen_image_model import QwenImageModel, QwenImagePlusModel
from scenes.entry_point import load_entry_point


class Drawer(Protocol):
    """What a Diffuser needs; `ImageModel` is one."""

    def draw(self, prompts: Sequence[str], seeds: Sequence[int], steps: int | None = None) -> list[np.ndarray]:
        """One (H, W, 3) uint8 image for each prompt; equal seed and prompt give equal images."""
        ...


@dataclass(frozen=True)
class Family:
    """The code for one pipeline class, and what a pipeline of that class was made for."""

    model: type[ImageModel]
    draws: bool
    edits: bool


FAMILIES: dict[str, Family] = {
    "FluxPipeline": Family(FluxModel, draws=True, edits=False),
    "FluxKontextPipeline": Family(FluxModel, draws=True, edits=True),
    "Flux2KleinPipeline": Family(Flux2KleinModel, draws=True, edits=True),
    "QwenImageEditPipeline": Family(QwenImageModel, draws=False, edits=True),
    "QwenImageEditPlusPipeline": Family(QwenImagePlusModel, draws=False, edits=True),
}
"""By the `_class_name` of a pipeline's index."""


def pipeline_of(path: str | Path) -> str:
    """The pipeline class that a folder or hub id names.

    Raises:
        ModelLoadError: there is no such pipeline.
    """
    check_index(path)
    try:
        return str(DiffusionPipeline.load_config(str(path)).get("_class_name"))
    except (OSError, ValueError) as error:
        raise ModelLoadError(f"model path {str(path)!r}: {INDEX} cannot be read: {error}") from error


def family_of(path: str | Path) -> Family:
    """The family of a pipeline folder or hub id, from its index alone.

    Raises:
        ModelLoadError: there is no such pipeline, or it is of a class that is not known here.
    """
    name = pipeline_of(path)
    if name not in FAMILIES:
        raise ModelLoadError(
            f"model path {str(path)!r}: {INDEX} names {name!r}, which is none of {', '.join(FAMILIES)}; give a "
            "pipeline of one of these classes"
        )
    return FAMILIES[name]


def own_drawer(family: str) -> Callable[..., Drawer]:
    """The user's class at `module:name` that draws.

    Raises:
        EntryPointError: there is no such code.
        ModelLoadError: it has no `draw`.
    """
    own = load_entry_point("diffuser.family", family)
    if not callable(getattr(own, "draw", None)):
        raise ModelLoadError(f"diffuser.family: {family!r} is refused: it has no method draw; see Drawer")
    return own


def own_editor(family: str) -> type[ImageModel]:
    """The user's class at `module:name` that edits, and that the learner computes with.

    Raises:
        EntryPointError: there is no such code.
        ModelLoadError: it is no `ImageModel`.
    """
    own: Any = load_entry_point("editor.family", family)
    if not (isinstance(own, type) and issubclass(own, ImageModel)):
        raise ModelLoadError(
            f"editor.family: {family!r} is refused: it is no subclass of actors.image_model.ImageModel"
        )
    return own


def load_drawer(path: str | Path, family: str | None = None, **settings: Any) -> Drawer:
    """The pipeline of a folder or hub id, to draw with.

    Args:
        family: the user's class at `module:name`; None: the family of the folder's pipeline.
        settings: as `ImageModel` takes them.

    Raises:
        ModelLoadError: it cannot be loaded, or its pipeline needs an image.
        EntryPointError: see `own_drawer`.
        ValueError: see `ImageModel`.
    """
    if family is not None:
        return own_drawer(family)(path, **settings)
    name = pipeline_of(path)
    if name not in FAMILIES and draws(name):
        return AnyDrawer(path, **settings)
    found = family_of(path)
    if not found.draws:
        raise ModelLoadError(
            f"model path {str(path)!r} holds a pipeline that only edits images; name one that draws in models.flux, "
            "and this one in models.editor"
        )
    return found.model(path, **settings)


def load_editor(path: str | Path, family: str | None = None, **settings: Any) -> ImageModel:
    """The pipeline of a folder or hub id, to edit with; arguments as those of `load_drawer`.

    Raises:
        ModelLoadError: it cannot be loaded, or its pipeline takes no image.
        EntryPointError: see `own_editor`.
        ValueError: see `ImageModel`.
    """
    if family is not None:
        return own_editor(family)(path, **settings)
    found = family_of(path)
    if not found.edits:
        raise ModelLoadError(
            f"model path {str(path)!r} holds a pipeline that draws from a prompt and takes no image; name an editor in "
            "models.editor"
        )
    return found.model(path, **settings)
