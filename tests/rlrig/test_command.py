"""What is refused is called as it was given."""

from __future__ import annotations

import pytest

from presets.errors import BadInput, ConfigError
from rlrig.command import naming


def test_a_key_that_a_flag_has_set_is_called_by_the_flag() -> None:
    message = "gateway.port: 99999 is refused\ngateway.trusted_proxy: 'x' is no address\ngateway.host: 'y: z' is none"
    with (
        pytest.raises(ConfigError) as caught,
        naming({"gateway.port": "--port", "gateway.trusted_proxy": "--trusted-proxy"}),
    ):
        raise ConfigError(message)
    assert str(caught.value).splitlines() == [
        "--port: 99999 is refused",
        "--trusted-proxy: 'x' is no address",
        "gateway.host: 'y: z' is none",
    ]


def test_what_names_no_key_stays_as_it_is() -> None:
    with pytest.raises(BadInput, match=r"^nothing to serve$"), naming({"gateway.port": "--port"}):
        raise BadInput("nothing to serve")
