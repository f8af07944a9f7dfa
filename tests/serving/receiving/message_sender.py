"""Senders of weights that need no GPU: the buckets come with the calls. All else is as with vLLM's trainer engines."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from serving.receiving.receiver import bucket_messages
from weights.manifest import WeightUpdate
from weights.transports.exchange import Address
from weights.transports.vllm_trainer import BucketSource, ReplicaCalls
from weights.transports.vllm_transfer import Link, Sender


class MessageCalls(ReplicaCalls):
    """Calls that carry buckets."""

    def take(self, message: dict[str, Any]) -> None:
        self._call("take", dict.fromkeys(self._ranks, message))


class MessageTrainer:
    """Has the lifecycle of vLLM's trainer engines."""

    def __init__(self, calls: MessageCalls, source: BucketSource, dies: bool) -> None:
        self._calls, self._source, self._dies = calls, source, dies

    def send_weights(self) -> None:
        self._calls.start_weight_update()
        if self._dies:
            os._exit(1)
        for message in bucket_messages(self._source.update):
            self._calls.take(message)
        self._calls.finish_weight_update()

    def shutdown(self) -> None:
        pass


class MessageSender(Sender):
    """Sends to all replicas at once."""

    dies = False

    def ready(self, addresses: Sequence[Address]) -> None:
        pass

    def connect(self, update: WeightUpdate, addresses: Sequence[Address]) -> list[Link]:
        calls = MessageCalls(self._vlm.transfer, {address.replica: 1 for address in addresses})
        source = BucketSource(update, "cpu")
        return [Link(MessageTrainer(calls, source, self.dies), calls, source)]


class DyingSender(MessageSender):
    """Dies when the replicas have made ready."""

    dies = True
