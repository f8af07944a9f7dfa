"""Which family of image models a pipeline folder holds. The folder says it; nobody is asked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffusers import DiffusionPipeline

from actors.flux_model import FluxModel
from actors.image_model import INDEX, ImageModel, ModelLoadError, check_index
from actors.qwen_image_model import QwenImageModel


@dataclass(frozen=True)
class Family:
    """The code for one pipeline class, and what a pipeline of that class was made for."""

    model: type[ImageModel]
    draws: bool
    edits: bool


FAMILIES: dict[str, Family] = {
    "FluxPipeline": Family(FluxModel, draws=True, edits=False),
    "FluxKontextPipeline": Family(FluxModel, draws=True, edits=True),
    "QwenImageEditPipeline": Family(QwenImageModel, draws=False, edits=True),
}
"""By the `_class_name` of a pipeline's index."""


def family_of(path: str | Path) -> Family:
    """The family of a pipeline folder or hub id, from its index alone.

    Raises:
        ModelLoadError: there is no such pipeline, or it is of a class that is not known here.
    """
    check_index(path)
    try:
        name = DiffusionPipeline.load_config(str(path)).get("_class_name")
    except (OSError, ValueError) as error:
        raise ModelLoadError(f"model path {str(path)!r}: {INDEX} cannot be read: {error}") from error
    if name not in FAMILIES:
        raise ModelLoadError(
            f"model path {str(path)!r}: {INDEX} names {name!r}, which is none of {', '.join(FAMILIES)}; give a "
            "pipeline of one of these classes"
        )
    return FAMILIES[name]


def load_drawer(path: str | Path, **settings: Any) -> ImageModel:
    """The pipeline of a folder or hub id, to draw with; settings as `ImageModel` takes them.

    Raises:
        ModelLoadError: it cannot be loaded, or its pipeline needs an image.
        ValueError: see `ImageModel`.
    """
    family = family_of(path)
    if not family.draws:
        raise ModelLoadError(
            f"model path {str(path)!r} holds a pipeline that only edits images; name one that draws in models.flux, "
            "and this one in models.editor"
        )
    return family.model(path, **settings)


def load_editor(path: str | Path, **settings: Any) -> ImageModel:
    """The pipeline of a folder or hub id, to edit with; settings as `ImageModel` takes them.

    Raises:
        ModelLoadError: it cannot be loaded, or its pipeline takes no image.
        ValueError: see `ImageModel`.
    """
    family = family_of(path)
    if not family.edits:
        raise ModelLoadError(
            f"model path {str(path)!r} holds a pipeline that draws from a prompt and takes no image; name an editor in "
            "models.editor"
        )
    return family.model(path, **settings)
