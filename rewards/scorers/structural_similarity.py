"""SSIM within a mask: pixels outside of it count for nothing, not even in the windows of their neighbours."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

SIGMA, REACH = 1.5, 5  # a window of 11 × 11
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
_WEIGHTS = np.exp(-0.5 * (np.arange(-REACH, REACH + 1) / SIGMA) ** 2)
WINDOW = (_WEIGHTS / _WEIGHTS.sum()).astype(np.float32)
"""Along one axis; its outer product with itself is the window."""


def masked_ssim(first: np.ndarray, second: np.ndarray, mask: np.ndarray) -> float:
    """Mean structural similarity of two images over the pixels of a mask, and over channels.

    With Gaussian weights w (σ = 1.5, 11 × 11), the mask m and `E[x] = Σ w·m·x / Σ w·m` around a pixel:
    `SSIM = (2·E[x]·E[y] + C1)·(2·cov + C2) / ((E[x]² + E[y]² + C1)·(var x + var y + C2))`, C1 = (0.01·255)²,
    C2 = (0.03·255)² (Wang et al. 2004, "Image quality assessment: from error visibility to structural similarity").

    Args:
        first, second: (H, W, C) with values from 0 to 255.
        mask: bool (H, W).

    Returns:
        at most 1, which equal images have; NaN where the mask is empty.
    """
    if not mask.any():
        return float("nan")
    inside = mask.astype(np.float32)
    weight = np.maximum(_smooth(inside), np.float32(1e-6))
    total = 0.0
    for channel in range(first.shape[2]):
        # Around mid-grey: products stay small, and float32 keeps their differences.
        x = (first[:, :, channel].astype(np.float32) - 128) * inside
        y = (second[:, :, channel].astype(np.float32) - 128) * inside
        mean_x, mean_y = _smooth(x) / weight, _smooth(y) / weight
        var_x, var_y = _smooth(x * x) / weight - mean_x**2, _smooth(y * y) / weight - mean_y**2
        covariance = _smooth(x * y) / weight - mean_x * mean_y
        mean_x, mean_y = mean_x + 128, mean_y + 128
        luminance = (2 * mean_x * mean_y + _C1) / (mean_x**2 + mean_y**2 + _C1)
        structure = (2 * covariance + _C2) / (np.maximum(var_x, 0) + np.maximum(var_y, 0) + _C2)
        total += float((luminance * structure)[mask].mean(dtype=np.float64))
    return total / int(first.shape[2])


def _smooth(values: np.ndarray) -> np.ndarray:
    rows: np.ndarray = ndimage.correlate1d(values, WINDOW, axis=0, mode="constant")
    both: np.ndarray = ndimage.correlate1d(rows, WINDOW, axis=1, mode="constant")
    return both
