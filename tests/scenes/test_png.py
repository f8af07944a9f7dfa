import base64

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from scenes.png import data_uri, decode_png, encode_png

images = hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3)))


@settings(deadline=None, max_examples=60)
@given(images)
def test_png_round_trip_is_exact(image: np.ndarray) -> None:
    np.testing.assert_array_equal(decode_png(encode_png(image)), image)


def test_png_refuses_float_images() -> None:
    with pytest.raises(ValueError, match=r"uint8 of shape \(height, width, 3\), not float64 of shape \(4, 4, 3\)"):
        encode_png(np.zeros((4, 4, 3)))


def test_a_data_uri_holds_the_bytes() -> None:
    png = encode_png(np.full((2, 2, 3), 7, np.uint8))
    kind, _, held = data_uri(png).partition(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(held) == png
