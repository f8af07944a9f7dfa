import asyncio
import json
import tracemalloc

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenes.png import encode_png
from studio.api.app import make_app
from studio.config import GatewayConfig
from tests.studio.asking import EDITS, GENERATIONS, client
from tests.studio.scripted_service import ScriptedService, picture


@pytest.mark.parametrize(
    ("content", "kind", "status", "code"),
    [
        (b"", "application/json", 400, "invalid_json"),
        (b"{", "application/json", 400, "invalid_json"),
        (b"[]", "application/json", 400, "invalid_json"),
        (b"[" * 100_000, "application/json", 413, "body_too_large"),
        (b"[" * 50_000, "application/json", 400, "invalid_json"),
        (b'{"seed": ' + b"9" * 5000 + b"}", "application/json", 400, "invalid_json"),
        (b"\xff", "application/json", 400, "invalid_json"),
        (b"{}", "text/plain", 415, "unsupported_media_type"),
        (b"prompt=x", "application/x-www-form-urlencoded", 415, "unsupported_media_type"),
    ],
)
def test_a_body_of_another_kind_is_refused(content: bytes, kind: str, status: int, code: str) -> None:
    answer = client().post(GENERATIONS, content=content, headers={"content-type": kind})
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_a_body_without_a_declared_length_is_cut_off_too() -> None:
    answer = client().post(GENERATIONS, content=iter([bytes(50_000)] * 4), headers={"content-type": "application/json"})
    assert answer.status_code == 413


def parts(*given: tuple[str, bytes, bool]) -> bytes:
    """A form's body with these parts: name, content, whether it is a file."""
    text = [
        b'--b\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n'
        % (name.encode(), b'; filename="x"' * file, content)
        for name, content, file in given
    ]
    return b"".join([*text, b"--b--\r\n"])


PNG = encode_png(picture(1))
HTTP = client()


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        (parts(("prompt", b"x", False)), 400, "'image' is missing"),
        (parts(("prompt", b"x", False), ("image", b"x", False)), 400, "send it as a file"),
        (parts(("prompt", b"x", False), ("image", PNG, True), ("image", PNG, True)), 400, "a second file is given"),
        (parts(("prompt", b"x", False), ("prompt", b"y", False)), 400, "given twice"),
        (parts(*[("image", PNG, True)] * 21), 400, "Too many files"),
        (parts(("prompt", b"x", True)), 400, "'prompt' is a file"),
        (parts(("prompt", b"x" * 20_000, False)), 400, "Part exceeded"),
        (parts(*[(f"f{k}", b"x", False) for k in range(99)]), 400, "Too many fields"),
        (b"no form", 400, "cannot be read"),
        (b"--b\r\n" + bytes(2_000_000), 413, "too large"),
    ],
)
def test_a_damaged_form_is_refused(content: bytes, status: int, words: str) -> None:
    headers = {"content-type": "multipart/form-data; boundary=b"}
    answer = client(max_upload_bytes=1_000_000).post(EDITS, content=content, headers=headers)
    assert answer.status_code == status
    assert words in answer.json()["error"]["message"]


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_form_gets_an_answer_that_is_no_failure(data: st.DataObject) -> None:
    """A right form with bytes cut off, changed and put in, anywhere: marks, names, fields, file."""
    form = bytearray(parts(("prompt", b"cat above dog", False), ("n", b"1", False), ("image", PNG, True)))
    del form[data.draw(st.integers(0, len(form)), label="length") :]
    for _ in range(data.draw(st.integers(0, 4))):
        position = data.draw(st.integers(0, len(form)))
        form[position : position + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    answer = HTTP.post(EDITS, content=bytes(form), headers={"content-type": "multipart/form-data; boundary=b"})
    assert answer.status_code in (200, 400, 404, 413, 415, 422)
    assert answer.status_code == 200 or set(answer.json()["error"]) >= {"message", "type", "param", "code"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters()), inner, max_size=3),
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(["n", "seed", "turns", "stream", "size", "user", "\ud800"]), JSON))
def test_any_json_gets_an_answer_that_is_no_failure(fields: dict) -> None:
    body = json.dumps({"prompt": "cat above dog", **fields})
    answer = HTTP.post(GENERATIONS, content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (200, 400)
    assert answer.status_code == 200 or answer.json()["error"]["param"] in {*fields, None}


def test_a_part_has_so_many_headers_and_no_more() -> None:
    content = b"--b\r\n" + b"a:\r\n" * 400_000
    tracemalloc.start()
    answer = HTTP.post(EDITS, content=content, headers={"content-type": "multipart/form-data; boundary=b"})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert answer.status_code == 400
    assert peak < 20_000_000


def test_a_body_must_come_in_time() -> None:
    async def slowly():
        yield b"{"
        await asyncio.sleep(5)
        yield b"}"

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(make_app(ScriptedService(), GatewayConfig(body_deadline_s=0.05), token=""))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
            return await http.post(GENERATIONS, content=slowly(), headers={"content-type": "application/json"})

    answer = asyncio.run(ask())
    assert (answer.status_code, answer.json()["error"]["code"]) == (408, "body_timeout")
