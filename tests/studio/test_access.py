import pytest
from starlette.requests import Request

from studio.access import MIN_TOKEN_CHARS, Access
from studio.config import GatewayConfig, is_loopback
from studio.errors import ApiError

TOKEN = "a-token-of-enough-characters"


def request(**headers: str) -> Request:
    raw = [(name.encode(), value.encode()) for name, value in {"host": "127.0.0.1:8000", **headers}.items()]
    return Request({"type": "http", "method": "GET", "path": "/", "headers": raw})


def refusal(access: Access, token: str | None, **headers: str) -> tuple[int, str | None]:
    with pytest.raises(ApiError) as caught:
        access.check(request(**headers), token)
    return caught.value.status, caught.value.code


@pytest.mark.parametrize("host", ["127.0.0.1", "127.3.2.1", "::1", "[::1]", "localhost", "LOCALHOST"])
def test_loopback_addresses_need_no_token(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RLRIG_TOKEN", raising=False)
    assert is_loopback(host)
    assert not Access(GatewayConfig(host=host)).token_needed


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "example.org", "127.0.0.1.example.org"])
def test_other_addresses_do_not_start_without_a_token(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RLRIG_TOKEN", raising=False)
    with pytest.raises(ValueError, match=r"gateway\.host: .* set the environment variable RLRIG_TOKEN"):
        Access(GatewayConfig(host=host))
    monkeypatch.setenv("RLRIG_TOKEN", TOKEN)
    assert Access(GatewayConfig(host=host)).token_needed


def test_a_short_token_is_refused_and_not_told() -> None:
    with pytest.raises(ValueError, match=rf"has 15 characters; use at least {MIN_TOKEN_CHARS}") as caught:
        Access(GatewayConfig(), "x" * 15)
    assert "xxx" not in str(caught.value)


def test_a_token_that_is_set_is_needed_on_a_loopback_address_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTHER_TOKEN", f" {TOKEN}\n")
    access = Access(GatewayConfig(token_env="OTHER_TOKEN"))
    access.check(request(), TOKEN)
    for wrong in (None, "", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "\udce4"):
        assert refusal(access, wrong) == (401, "invalid_api_key")


def test_a_token_lets_in_by_any_name() -> None:
    Access(GatewayConfig(), TOKEN).check(request(host="example.org", origin="https://other.example"), TOKEN)


@pytest.mark.parametrize("host", ["example.org", "10.0.0.1:8000", "", "127.0.0.1.example.org", "localhost.example.org"])
def test_without_a_token_other_names_are_refused(host: str) -> None:
    """A page whose name was made to lead to the loopback address would otherwise be of the same origin."""
    assert refusal(Access(GatewayConfig(), ""), None, host=host) == (403, "host_refused")


@pytest.mark.parametrize("origin", ["https://example.org", "null", "http://127.0.0.1:9000", "http://localhost:8000"])
def test_without_a_token_pages_of_other_origins_are_refused(origin: str) -> None:
    assert refusal(Access(GatewayConfig(), ""), None, origin=origin) == (403, "origin_refused")


def test_without_a_token_the_own_pages_are_served() -> None:
    access = Access(GatewayConfig(), "")
    access.check(request(), None)
    access.check(request(origin="http://127.0.0.1:8000"), None)
    access.check(request(host="[::1]:8000", origin="http://[::1]:8000"), None)


def test_a_client_holds_so_many_slots_and_no_more() -> None:
    access = Access(GatewayConfig(max_requests_per_client=2, max_requests=3), "")
    with access.slot("a"), access.slot("b"):
        with access.slot("a"):
            with pytest.raises(ApiError, match="2 of your requests") as caught, access.slot("a"):
                pass
            assert (caught.value.status, caught.value.headers) == (429, {"Retry-After": "1"})
            with pytest.raises(ApiError) as caught, access.slot("c"):
                pass
            assert caught.value.status == 503
        with access.slot("a"):
            pass
    with access.slot("a"), access.slot("a"), access.slot("c"):
        pass
