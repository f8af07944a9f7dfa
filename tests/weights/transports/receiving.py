"""What the other processes of the tests do: they receive, and some of them fail on purpose."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Any

import torch

from weights.transports.meeting import Offer, receive

torch.set_num_threads(1)


@dataclass
class Received:
    """The buckets as bytes, or the error's text; and the seconds that it took."""

    replica: str
    buckets: list[bytes]
    error: str
    seconds: float


def receive_and_tell(offer: Offer, replica: str, dies_at: int | None, tell: Any) -> None:
    """Receive an offer, or die at the broadcast with this number."""
    broadcast = torch.distributed.broadcast
    seen = 0

    def counted(*arguments: Any, **keywords: Any) -> Any:
        nonlocal seen
        if seen == dies_at:
            os._exit(1)
        seen += 1
        return broadcast(*arguments, **keywords)

    torch.distributed.broadcast = counted
    began = time.monotonic()
    try:
        buckets, error = [bucket.tobytes() for bucket in receive(offer, replica).buckets], ""
    except Exception as raised:
        buckets, error = [], f"{type(raised).__name__}: {raised}"
    tell.send(Received(replica, buckets, error, time.monotonic() - began))
