import socket

import pytest

from presets.errors import BadInput
from studio.config import GatewayConfig
from studio.exposure import check_exposure, free_port, in_url

TOKEN = "0123456789abcdef0123"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "example.org"])
def test_an_address_beyond_this_machine_needs_a_token(host: str) -> None:
    with pytest.raises(BadInput, match="RLRIG_TOKEN"):
        check_exposure(GatewayConfig(host=host), "")
    check_exposure(GatewayConfig(host=host), TOKEN)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_a_loopback_address_needs_none(host: str) -> None:
    check_exposure(GatewayConfig(host=host), "")


def test_a_port_that_is_taken_is_refused_and_0_takes_another() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        with pytest.raises(BadInput, match=rf"gateway\.port: {taken}"):
            free_port("127.0.0.1", taken)
        assert free_port("127.0.0.1", 0) not in (0, taken)


def test_an_address_that_stands_for_all_is_asked_for_at_this_machine() -> None:
    assert [in_url(host) for host in ("0.0.0.0", "::", "::1", "127.0.0.1")] == [
        "127.0.0.1", "[::1]", "[::1]", "127.0.0.1",
    ]  # fmt: skip
