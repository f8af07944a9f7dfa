"""Where the endpoint may listen, looked at before anything starts."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from presets.errors import BadInput
from studio.access import Access
from studio.config import GatewayConfig

if TYPE_CHECKING:
    from serving.proxy.early_port import EarlyPort


def check_exposure(gateway: GatewayConfig, token: str) -> None:
    """Refuse an address beyond this machine without a token, and a token that is too short.

    Raises:
        BadInput: the message says how to get one.
    """
    try:
        Access(gateway, token)
    except ValueError as error:
        raise BadInput(str(error)) from error


def bound(host: str, port: int) -> socket.socket:
    """A socket at this address of this machine, which does not listen yet; port 0 takes a free one.

    Raises:
        BadInput: the port is taken, or the address is none of this machine.
    """
    from serving.proxy.http_server import bound_socket

    try:
        return bound_socket(host, port)
    except OSError as error:
        raise _unusable(host, port, error) from error


def early_port(gateway: GatewayConfig) -> EarlyPort:
    """What answers at the endpoint's port until Ray Serve listens there. Raises as `bound`."""
    from serving.proxy.early_port import EarlyPort

    try:
        return EarlyPort(gateway.host, gateway.port, "Ray starts")
    except OSError as error:
        raise _unusable(gateway.host, gateway.port, error) from error


def _unusable(host: str, port: int, error: OSError) -> BadInput:
    return BadInput(
        f"gateway.host: {host!r}, gateway.port: {port}: this machine cannot listen there ({error.strerror}); "
        "choose another port with --port, 0 takes a free one"
    )


def free_port(host: str, port: int) -> int:
    """`port`, or a free one for 0, on which this machine can listen at `host`. Raises as `bound`."""
    with bound(host, port) as listener:
        taken: int = listener.getsockname()[1]
        return taken


def in_url(host: str) -> str:
    """The host as a URL that this machine can ask names it."""
    return {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
