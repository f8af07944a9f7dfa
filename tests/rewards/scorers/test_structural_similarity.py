import numpy as np
import pytest

from rewards.scorers.structural_similarity import REACH, SIGMA, masked_ssim

RNG = np.random.default_rng(5)


def reference(first: np.ndarray, second: np.ndarray, mask: np.ndarray) -> float:
    """The formula pixel by pixel, in float64."""
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    height, width, channels = first.shape
    found = []
    for channel in range(channels):
        for row, column in zip(*np.nonzero(mask), strict=True):
            weights, xs, ys = [], [], []
            for dy in range(-REACH, REACH + 1):
                for dx in range(-REACH, REACH + 1):
                    y, x = row + dy, column + dx
                    if 0 <= y < height and 0 <= x < width and mask[y, x]:
                        weights.append(np.exp(-(dx * dx + dy * dy) / (2 * SIGMA**2)))
                        xs.append(float(first[y, x, channel]))
                        ys.append(float(second[y, x, channel]))
            w, x, y = (np.array(values, dtype=np.float64) for values in (weights, xs, ys))
            w = w / w.sum()
            mx, my = w @ x, w @ y
            vx, vy, cov = w @ (x - mx) ** 2, w @ (y - my) ** 2, w @ ((x - mx) * (y - my))
            found.append((2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2)))
    return float(np.mean(found))


@pytest.mark.parametrize("share", [1.0, 0.6, 0.1])
@pytest.mark.parametrize("noise", [2, 30])
def test_it_is_the_formula_in_float64(share: float, noise: int) -> None:
    first = RNG.integers(0, 256, (20, 24, 3)).astype(np.uint8)
    first[4:12, 5:15] = (250, 250, 10)
    second = np.clip(first + RNG.normal(0, noise, first.shape), 0, 255).astype(np.uint8)
    mask = RNG.random((20, 24)) < share
    assert masked_ssim(first, second, mask) == pytest.approx(reference(first, second, mask), abs=2e-5)


def test_smooth_bright_pictures_lose_nothing_in_float32() -> None:
    first = np.full((20, 24, 3), 245, np.uint8)
    first[3:9] = 244
    second = first.copy()
    second[10:14, 4:8] = 246
    mask = np.ones((20, 24), bool)
    assert masked_ssim(first, second, mask) == pytest.approx(reference(first, second, mask), abs=2e-5)


def test_what_is_outside_the_mask_changes_nothing() -> None:
    first = RNG.integers(0, 256, (32, 32, 3)).astype(np.uint8)
    second, mask = first.copy(), np.ones((32, 32), bool)
    second[8:20, 8:20], mask[8:20, 8:20] = 0, False
    assert masked_ssim(first, second, mask) == pytest.approx(1.0, abs=1e-6)
    assert masked_ssim(first, second, np.ones((32, 32), bool)) < 0.9
    assert np.isnan(masked_ssim(first, second, np.zeros((32, 32), bool)))
