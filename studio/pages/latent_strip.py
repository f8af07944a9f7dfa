"""Flow latents as small pictures. Only the VAE makes images of them; these show the latents themselves."""

from __future__ import annotations

import math

import numpy as np

from actors.flow_path import FlowPath

_PATCH = 4  # a token of a packed latent holds 2 × 2 places


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
