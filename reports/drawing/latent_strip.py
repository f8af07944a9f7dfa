"""Flow latents as small pictures. Only the VAE makes images of them; these show the latents themselves."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from actors.flow_path import FlowPath
from reports.gallery import finite
from reports.reading.table import Row
from scenes.png import data_uri, encode_png

_PATCH = 4  # a token of a packed latent holds 2 × 2 places
_MOST_VALUES, _MOST_STATES = 1 << 24, 200


@dataclass(frozen=True)
class Latent:
    """One state of the denoising: a data URI, its noise level σ, and the log-probability of the step that led here
    (None for the first)."""

    image: str
    sigma: float
    log_prob: float | None


def latent_pictures(path: FlowPath, height: int, width: int) -> list[np.ndarray]:
    """One picture (h, w, 3) uint8 for each of the K + 1 latents: the first three latent channels as red, green and
    blue, scaled alike in all of them, from the 1st to the 99th percentile.

    Args:
        height, width: of the image in pixels, whose shape the tokens fill row by row.

    Raises:
        ValueError: the tokens fill no such shape.
    """
    states, tokens, channels = path.latents.shape
    rows = round(math.sqrt(tokens * height / width))
    if rows < 1 or tokens % rows:
        raise ValueError(f"flow: {tokens} tokens fill no image of {width}×{height} pixels")
    if channels % _PATCH == 0 and channels // _PATCH >= 3:
        packed = path.latents.reshape(states, rows, tokens // rows, channels // _PATCH, 2, 2)
        grid = packed.transpose(0, 1, 4, 2, 5, 3).reshape(states, 2 * rows, 2 * tokens // rows, -1)
    else:
        grid = path.latents.reshape(states, rows, tokens // rows, channels)
    shown = np.nan_to_num(grid[..., :3])
    if shown.shape[-1] < 3:
        shown = np.repeat(shown[..., :1], 3, axis=-1)
    low, high = np.percentile(shown, (1, 99))
    scaled = (shown - low) / max(float(high - low), 1e-12)
    return list((np.clip(scaled, 0, 1) * 255).round().astype(np.uint8))


def strip_of(row: Row) -> tuple[list[Latent], str | None]:
    """The denoising of a turn; where it cannot be shown, nothing and why."""
    if row["flow"] is None:
        why = "the latents were not kept, which keep.editor in the run file says"
        if row["edit_prompt"] is None:
            why = "there was no edit"
        elif row["stage"] != "editor":
            why = "the editor did not train in this update"
        return [], f"No denoising was recorded: {why}."
    try:
        path = FlowPath.from_record(row["flow"])
        if not path.latents.size:
            raise ValueError("flow: its latents hold no value")
        if path.latents.size > _MOST_VALUES or len(path) > _MOST_STATES:
            raise ValueError(f"flow: {len(path)} steps of {path.latents.size} values are too many")
        pictures = latent_pictures(path, *_shape(row["image_before"]))
    except (ValueError, TypeError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        what = str(error) if isinstance(error, ValueError) else "its values or the image before it cannot be read"
        return [], f"The denoising cannot be shown: {what}."
    steps = [None, *path.log_probs.tolist()]
    return [
        Latent(data_uri(encode_png(picture)), _number(sigma), None if step is None else finite(step))
        for picture, sigma, step in zip(pictures, path.sigmas[-len(pictures) :], steps, strict=True)
    ], None


def _shape(png: bytes | None) -> tuple[int, int]:
    """Height and width of an image; of one that was not kept it is not known, and a square is tried."""
    if png is None:
        return 1, 1
    with Image.open(io.BytesIO(png), formats=["PNG"]) as image:
        return image.height, image.width


def _number(value: float) -> float:
    return finite(float(value)) or 0.0
