"""Whether the models of a run can make pictures of the size that its run file asks for, and the exact extractor can
read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from presets.errors import BadInput
from presets.memory.image_models import SOURCE_SIZE, TEXT_SIZE
from presets.memory.model_size import UnknownSize
from presets.memory.sizes import pipeline_settings
from scenes.pictures.size import PictureSize, nearest
from scenes.shape_world import SIZE

if TYPE_CHECKING:
    from presets.run_config import RunConfig

_PACKED = ("Flux", "QwenImage")  # pipelines that make one token of 2×2 latents, whatever the transformer says


def check_picture_size(config: RunConfig) -> None:
    """Hold width and height, and `editor.source_size`, against what VAE and transformer of the run's pipelines need, as
    far as their configuration is known here. A family of the user's own says by itself what it needs.

    Raises:
        BadInput: the models make no such pictures; a line for each key, with the nearest values that work.
    """
    problems = list[str]()
    models = [("models.flux", config.models.flux, config.diffuser.family)]
    models.append(("models.editor", config.models.edits_with, config.editor.family))
    for key, name, family in models:
        if family is not None:
            continue
        try:
            pipeline, parts = pipeline_settings(name)
            multiple = pixels_of_token(pipeline, parts)
        except UnknownSize:
            continue
        for side, pixels in config.diffuser.size.sides.items():
            if pixels % multiple:
                setting = "image_size" if getattr(config.diffuser, side) is None else side
                problems.append(
                    f"diffuser.{setting}: {pixels} is refused: the model {name} needs a multiple of {multiple}, as "
                    f"{nearest(pixels, multiple)}"
                )
        if key == "models.editor" and pipeline in SOURCE_SIZE:
            problems += _source_problems(config, pipeline, multiple)
    if problems:
        raise BadInput("\n".join(dict.fromkeys(problems)))


def pixels_of_token(pipeline: str, parts: Mapping[str, Mapping[str, Any]]) -> int:
    """Pixels a side for which a pipeline has one token, of which width and height must be multiples: a VAE halves the
    sides once for each of its blocks but the first, and the transformer, or the pipeline before it, puts 2×2 of these
    places together, or as many as its `patch_size` says.

    Raises:
        UnknownSize: the VAE does not say.
    """
    vae, transformer = parts["vae"], parts["transformer"]
    blocks = vae.get("block_out_channels") or vae.get("dim_mult")
    if not blocks:
        raise UnknownSize("the VAE says neither block_out_channels nor dim_mult")
    patch = transformer.get("patch_size") or (transformer.get("all_patch_size") or [1])[0]
    patch = 2 if pipeline.startswith(_PACKED) else patch
    return int(2 ** (len(blocks) - 1) * (patch if isinstance(patch, int) else 1))


def _source_problems(config: RunConfig, pipeline: str, multiple: int) -> list[str]:
    size, given = config.diffuser.size, config.editor.source_size or SOURCE_SIZE[pipeline]
    source = size.scaled_to(given)
    if size.is_square and source.misfits(multiple):
        near = nearest(given, multiple)
        return [f"editor.source_size: {given} is refused: the editor needs a multiple of {multiple}, as {near}"]
    if not all((*source, *size.scaled_to(TEXT_SIZE.get(pipeline, given)))):
        return [
            f"editor.source_size: {given} is refused for pictures of {size}: the editor would see them at {source}; "
            "take a larger one, or sides that differ less"
        ]
    return []


def check_exact_extractor(config: RunConfig) -> None:
    """Look whether the exact extractor can read the run's pictures.

    Raises:
        BadInput: they have another size than those of the shape world.
    """
    size = config.diffuser.size
    if size != PictureSize(SIZE, SIZE):
        raise BadInput(
            f"data.source: shape_world is refused for pictures of {size}: its truth is read from {SIZE}x{SIZE} pixels. "
            f"Set diffuser.image_size={SIZE}, or data.source to other scenes"
        )
