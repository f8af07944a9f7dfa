import numpy as np
import pytest
from scipy import ndimage

from rewards.scorers.guards import Artifact, Sharpness, noise_of, sharpness_of
from tests.rewards.turns import SCENE, picture, turn

RNG = np.random.default_rng(1)


def blurred(image: np.ndarray, sigma: float) -> np.ndarray:
    return ndimage.gaussian_filter(image, (sigma, sigma, 0))


def noisy(image: np.ndarray, sigma: float) -> np.ndarray:
    grey = RNG.normal(0, sigma, image.shape[:2])[:, :, None]
    return np.clip(image.astype(float) + grey, 0, 255).astype(np.uint8)


def test_the_noise_of_a_smooth_image_is_found() -> None:
    for sigma in (3.0, 10.0):
        assert noise_of(noisy(picture(128, 256), sigma)) == pytest.approx(sigma, rel=0.05)
    assert noise_of(picture(128)) == 0.0


def test_blur_lowers_sharpness_and_a_picture_of_one_colour_has_none() -> None:
    images = [SCENE.image.copy(), blurred(SCENE.image, 0.7), blurred(SCENE.image, 2.0), picture(200)]
    values = Sharpness()([turn(image=image) for image in images])
    assert values[0] == 1.0
    assert 1 > values[1] > values[2] > values[3] == 0.0
    assert values[1] == pytest.approx(sharpness_of(images[1]) / sharpness_of(SCENE.image))
    assert Sharpness()([turn(source=picture(3))]) == [1.0]


def test_new_noise_costs_in_proportion_and_old_noise_nothing() -> None:
    grainy = noisy(SCENE.image, 6)
    clean, grown, worse = Artifact(tolerance=8)(
        [turn(), turn(image=grainy), turn(image=noisy(SCENE.image, 60))],
    )
    assert clean == 1.0
    assert grown == pytest.approx(1 - (noise_of(grainy) - noise_of(SCENE.image)) / 8)
    assert worse == 0.0
    assert Artifact()([turn(source=grainy)]) == [1.0]
    with pytest.raises(ValueError, match="tolerance: 0 is refused"):
        Artifact(tolerance=0)
