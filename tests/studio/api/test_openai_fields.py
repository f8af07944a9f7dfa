"""Fields that clients of OpenAI's API send and that mean nothing here, or cannot be met."""

import numpy as np
import pytest

from scenes.png import encode_png
from tests.studio.asking import EDITS, GENERATIONS, PROMPT, client, edit, events_of, image_of
from tests.studio.scripted_service import ScriptedService, picture

MEANINGLESS = {"quality": "hd", "style": "vivid", "background": "auto", "moderation": "low", "output_format": "png",
               "output_compression": 90, "partial_images": 2, "user": "someone"}  # fmt: skip


def test_fields_without_a_meaning_are_taken_and_named_in_the_answer() -> None:
    answer = client().post(GENERATIONS, json={"prompt": PROMPT, **MEANINGLESS})
    assert answer.status_code == 200
    assert sorted(answer.json()["data"][0]["rlrig"]["ignored"]) == sorted(MEANINGLESS)
    form = edit(client(), input_fidelity="high", **{name: str(value) for name, value in MEANINGLESS.items()})
    assert sorted(form.json()["data"][0]["rlrig"]["ignored"]) == sorted([*MEANINGLESS, "input_fidelity"])
    streamed = client().post(GENERATIONS, json={"prompt": PROMPT, "quality": "high", "stream": True})
    assert events_of(streamed.text)[-1][1]["rlrig"]["ignored"] == ["quality"]


def test_nothing_is_named_where_nothing_was_ignored() -> None:
    body = {"prompt": PROMPT, "size": "64x64", "n": 1, "response_format": "b64_json", "quality": None}
    assert client().post(GENERATIONS, json=body).json()["data"][0]["rlrig"]["ignored"] == []


@pytest.mark.parametrize(
    ("field", "value"),
    [("output_format", "webp"), ("output_format", "jpeg"), ("output_compression", 101), ("partial_images", 4),
     ("quality", 3), ("style", "x" * 65), ("n", 9), ("size", "big"), ("size", "0x64"), ("size", "64"),
     ("nonsense", 1)],
)  # fmt: skip
def test_what_cannot_be_met_is_named(field: str, value: object) -> None:
    answer = client().post(GENERATIONS, json={"prompt": PROMPT, field: value})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, field)


def test_another_size_gets_the_real_one_or_a_400_where_the_endpoint_is_strict() -> None:
    body = {"prompt": PROMPT, "size": "1024x1024"}
    answer = client().post(GENERATIONS, json=body).json()
    assert answer["size"] == "64x64"
    assert answer["data"][0]["rlrig"]["ignored"] == ["size"]
    assert image_of(answer["data"][0]["b64_json"]).shape == (64, 64, 3)
    refused = client(strict=True).post(GENERATIONS, json=body)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "size")
    assert "'auto' or '64x64', not '1024x1024'" in refused.json()["error"]["message"]
    assert client(strict=True).post(GENERATIONS, json={"prompt": PROMPT, "size": "auto"}).status_code == 200


@pytest.mark.parametrize("name", ["mask", "image", "image[]", "other"])
def test_a_second_file_is_named(name: str) -> None:
    png = encode_png(picture(50))
    files = [("image", ("a.png", png)), (name, ("b.png", png))]
    answer = client().post(EDITS, files=files, data={"prompt": PROMPT})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, name.removesuffix("[]"))


def test_an_instruction_is_one_edit() -> None:
    service = ScriptedService(holds_after=0)
    answer = edit(client(service), prompt="move the red circle left of the blue square", turns="1")
    assert answer.status_code == 200
    (ask,) = service.asked
    assert ask.instruction == "move the red circle left of the blue square"
    assert ask.graph.requirements == ()
    trace = answer.json()["data"][0]["rlrig"]
    assert (trace["requirements"], trace["satisfied"], trace["turns"][0]["reward"]) == ([], None, None)
    assert edit(client(service), prompt=PROMPT).json()["data"][0]["rlrig"]["satisfied"] is True
    assert service.asked[-1].instruction == ""
    refused = client(service).post(GENERATIONS, json={"prompt": "move the red circle left of the blue square"})
    assert refused.status_code == 422  # nothing is there that could be moved


def test_a_prompt_that_is_part_requirement_is_no_instruction() -> None:
    answer = edit(client(), prompt="a cat left of a dog. Make it cozy.")
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "prompt_not_understood")


def test_the_course_of_an_instruction_asks_the_editor_alone() -> None:
    from rollout.course import Change
    from rollout.state import Episode
    from studio.episodes.instruction import NOTHING_REQUIRED, instructed
    from studio.episodes.service import Ask

    ask = Ask(NOTHING_REQUIRED, 7, 2, "rlrig", picture(50), "make it blue")
    episode = Episode(ask.graph)
    course = instructed(ask, 7, episode)
    change = next(course)
    assert isinstance(change, Change)
    assert (change.prompt, change.image[0, 0, 0]) == ("make it blue", 50)
    with pytest.raises(StopIteration):
        course.send(picture(60))
    assert [frame.edit_prompt for frame in episode.frames] == [None, "make it blue"]
    assert np.array_equal(episode.answer.image, picture(60))
