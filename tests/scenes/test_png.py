import base64
import io
import time
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from scenes.png import Picture, data_uri, decode_png, encode_png, encode_together

images = hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3)))


@settings(deadline=None, max_examples=60)
@given(images)
def test_png_round_trip_is_exact(image: np.ndarray) -> None:
    np.testing.assert_array_equal(decode_png(encode_png(image)), image)


def photograph(side: int) -> np.ndarray:
    """Soft colours with some grain."""
    rng = np.random.default_rng(0)
    soft = Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)).resize((side, side), Image.BICUBIC)
    return np.clip(np.asarray(soft) + rng.normal(0, 2, (side, side, 3)), 0, 255).astype(np.uint8)


def test_png_costs_at_most_half_of_what_the_librarys_own_level_does_and_is_as_small() -> None:
    image = photograph(512)

    def usual() -> int:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, format="PNG")
        return len(buffer.getvalue())

    def least(work: Callable[[], object]) -> float:
        seconds = []
        for _ in range(3):
            began = time.thread_time()
            work()
            seconds.append(time.thread_time() - began)
        return min(seconds)

    assert len(encode_png(image)) < 1.05 * usual()
    assert least(lambda: encode_png(image)) < 0.5 * least(usual)


@settings(deadline=None, max_examples=30)
@given(st.lists(images, max_size=6))
def test_pictures_are_encoded_and_decoded_when_they_are_first_asked_for(arrays: list[np.ndarray]) -> None:
    pictures = [Picture(array) for array in arrays]
    assert not any(picture.encoded for picture in pictures)
    encode_together([*pictures, *pictures])
    assert all(picture.encoded for picture in pictures)
    for picture, array in zip(pictures, arrays, strict=True):
        assert picture.png is picture.png
        back = Picture(png=picture.png)
        np.testing.assert_array_equal(back.pixels, array)
        assert back.pixels is back.pixels
        assert back.png is picture.png  # never encoded again


def test_a_picture_that_many_share_is_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[np.ndarray] = []
    monkeypatch.setattr("scenes.png.encode_png", lambda image: encoded.append(image) or b"png")
    shared, other = Picture(np.zeros((2, 2, 3), np.uint8)), Picture(np.ones((2, 2, 3), np.uint8))
    encode_together([shared] * 50 + [other])
    encode_together([shared, other])
    assert len(encoded) == 2


def test_an_error_while_encoding_together_is_raised() -> None:
    with pytest.raises(ValueError, match="uint8 of shape"):
        encode_together([Picture(np.zeros((2, 2, 3), np.uint8)), Picture(np.zeros((2, 2)))])
    with pytest.raises(ValueError, match="of one of them"):
        Picture()


def test_png_refuses_float_images() -> None:
    with pytest.raises(ValueError, match=r"uint8 of shape \(height, width, 3\), not float64 of shape \(4, 4, 3\)"):
        encode_png(np.zeros((4, 4, 3)))


def test_a_data_uri_holds_the_bytes() -> None:
    png = encode_png(np.full((2, 2, 3), 7, np.uint8))
    kind, _, held = data_uri(png).partition(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(held) == png
