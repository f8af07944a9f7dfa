"""Which address a request comes from, where proxies stand in front."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

Address = IPv4Address | IPv6Address


def networks(names: Sequence[str]) -> tuple[IPv4Network | IPv6Network, ...]:
    """Addresses (`10.0.0.7`) and networks (`10.0.0.0/8`) by their names.

    Raises:
        ValueError: a name that is neither.
    """
    found = []
    for name in names:
        try:
            found.append(ip_network(name))
        except ValueError as error:
            raise ValueError(f"{name!r} is no address or network; give one such as 10.0.0.7 or 10.0.0.0/8") from error
    return tuple(found)


def client_address(scope: MutableMapping[str, Any], trusted: Sequence[str]) -> str:
    """The address of the client of an ASGI scope.

    It is the peer's own, unless that is one of the trusted proxies: then the last address in `X-Forwarded-For` that is
    no trusted proxy's. What stands before an entry that is no address was written by nobody who is trusted, so that
    reading ends there, with the proxy that wrote it.
    """
    client = scope.get("client")
    nearest = client[0] if client else "local"
    proxies = networks(trusted)
    entries = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for").decode("latin-1")
    for entry in [*reversed(entries.split(","))] if proxies else []:
        here, before = _address(nearest), _address(entry)
        if here is None or before is None or not any(here in one for one in proxies):
            break
        nearest = str(before)
    return nearest


def _address(text: str) -> Address | None:
    """`10.0.0.7`, `10.0.0.7:5000`, `::1`, `[::1]:5000`; None for anything else."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ip_address(text)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found
