"""Requests whose first lines cannot be meant: 4xx in the error form, never a failure; and one id for each answer."""

import logging

import pytest

from studio.access import Access
from studio.config import GatewayConfig
from tests.studio.asking import GENERATIONS, PROMPT, TOKEN, client
from tests.studio.scripted_service import ScriptedService

MALFORMED = ["[::1", "]", "[", "[]", "a b", "a/b", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:99999", "u@127.0.0.1",
             "[::1]x", "[g::1]", "\xff", "127.0.0.1, 127.0.0.1", "::1", "[1.2.3]"]  # fmt: skip


@pytest.mark.parametrize("token", ["", TOKEN])
@pytest.mark.parametrize("host", MALFORMED)
def test_a_malformed_host_is_refused(host: str, token: str) -> None:
    headers = {"host": host.encode("latin-1"), "authorization": f"Bearer {token}"}
    answer = client(token=token).get("/v1/models", headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_header")
    assert "'Host'" in answer.json()["error"]["message"]


@pytest.mark.parametrize("origin", ["http://[::1", "http://[", "nonsense", "http://a b", "http://a:x", "\xff", "://"])
def test_a_malformed_origin_is_refused(origin: str) -> None:
    answer = client().get("/v1/models", headers={"origin": origin.encode("latin-1")})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_header")


@pytest.mark.parametrize("name", ["host", "origin"])
def test_a_header_that_is_there_twice_is_refused(name: str) -> None:
    answer = client().get("/v1/models", headers=[(name, "http://a"), (name, "http://b")])
    assert answer.status_code == 400


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/" + "x" * 3000, 414),
        ("/v1/models/" + "x" * 256, 414),
        ("/v1/models/" + "%C3%A4" * 128, 414),
        ("/healthz?" + "x" * 9000, 414),
        ("/v1/models/%00", 400),
        ("/v1/models/a%0Ab", 400),
        ("/v1/models/%FF", 404),
        ("/v1/models/" + "x" * 255, 404),
    ],
)
def test_a_path_that_cannot_be_meant_is_refused(path: str, status: int) -> None:
    answer = client().get(path)
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_an_answer_has_the_id_of_the_request_or_one_of_its_own() -> None:
    http = client()
    assert http.get("/healthz", headers={"X-Request-Id": "mine.1"}).headers.get_list("x-request-id") == ["mine.1"]
    for given in ("a b", "x" * 65, "<script>"):
        (id_,) = http.get("/healthz", headers={"X-Request-Id": given}).headers.get_list("x-request-id")
        assert id_ != given


def test_the_log_names_the_id_of_the_answer(caplog: pytest.LogCaptureFixture) -> None:
    http = client(ScriptedService(failure=RuntimeError("no")))
    with caplog.at_level(logging.ERROR):
        answer = http.post(GENERATIONS, json={"prompt": PROMPT}, headers={"X-Request-Id": "mine.1"})
    assert answer.status_code == 500
    assert answer.headers.get_list("x-request-id") == ["mine.1"]
    assert "request mine.1: RuntimeError" in caplog.text
    assert "mine.1" in answer.json()["error"]["message"]


class Asked:
    """As much of a request as tells where it comes from."""

    scope = {"client": ("10.0.0.1", 5000), "headers": [(b"x-forwarded-for", b"1.2.3.4")]}  # noqa: RUF012


def test_forwarded_clients_are_told_apart_behind_trusted_proxies_only() -> None:
    assert Access(GatewayConfig(), "").client(Asked()) == "10.0.0.1"
    assert Access(GatewayConfig(trusted_proxy=["10.0.0.0/24"]), "").client(Asked()) == "1.2.3.4"
    with pytest.raises(ValueError, match=r"trusted_proxy\n.*'nonsense' is no address"):
        GatewayConfig(trusted_proxy=["nonsense"])
