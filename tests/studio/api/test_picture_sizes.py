"""An endpoint whose models make pictures that are no squares."""

from __future__ import annotations

import numpy as np

from scenes.pictures.size import PictureSize
from scenes.png import encode_png
from tests.studio.asking import EDITS, GENERATIONS, PROMPT, client
from tests.studio.scripted_service import ScriptedService


class Wide(ScriptedService):
    image_size = PictureSize(96, 64)


def test_the_models_size_is_taken_and_told() -> None:
    answer = client(Wide()).post(GENERATIONS, json={"prompt": PROMPT, "size": "96x64"}).json()
    assert (answer["size"], answer["data"][0]["rlrig"]["ignored"]) == ("96x64", [])
    turned = client(Wide()).post(GENERATIONS, json={"prompt": PROMPT, "size": "64x96"}).json()
    assert (turned["size"], turned["data"][0]["rlrig"]["ignored"]) == ("96x64", ["size"])
    refused = client(Wide(), strict=True).post(GENERATIONS, json={"prompt": PROMPT, "size": "64x96"})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "size")
    assert "'auto' or '96x64', not '64x96'" in refused.json()["error"]["message"]


def sent(service: ScriptedService, width: int, height: int) -> tuple[int, str]:
    """The status of an edit of an image of this size, and the error's code."""
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    files = {"image": ("a.png", encode_png(image))}
    answer = client(service).post(EDITS, files=files, data={"prompt": PROMPT})
    return answer.status_code, answer.json().get("error", {}).get("code", "")


def test_an_uploaded_image_has_the_models_ratio() -> None:
    service = Wide()
    assert sent(service, 192, 128) == (200, "")
    image = service.asked[0].image
    assert image is not None
    assert image.shape == (64, 96, 3)
    assert sent(service, 64, 64) == sent(service, 64, 96) == (400, "image_of_other_ratio")
    assert len(service.asked) == 1
    assert sent(ScriptedService(), 96, 64) == (400, "image_not_square")
