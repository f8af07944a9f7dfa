"""New weights for a running service: between episodes, on every replica, with proof."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from studio.episodes.loss import is_loss
from studio.episodes.version_gate import VersionGate
from weights.board import latest_weights, publish_weights, put_back_weights
from weights.manifest import WeightMismatch, WeightUpdate
from weights.receipts import WeightReceipt, verify_receipts

if TYPE_CHECKING:
    from ray.serve.handle import DeploymentHandle

_POLL_S = 0.25


class ServiceWeights:
    """Replaces the weights of a policy's replicas while no episode is inside the gate.

    Replicas that start later, in the place of lost ones or because of many requests, take the newest weights from the
    board. One that read the board in the instant before is found by the version of its answers, and `repair` brings it
    the weights.

    Args:
        handles: of the deployments, by policy (`actor`, `editor`).
        board: name of the `WeightBoard` that replicas start with.
        gate: what episodes pass through.
        deadline_s: seconds that replicas may take for an update.
    """

    def __init__(
        self, handles: Mapping[str, DeploymentHandle], board: str, gate: VersionGate, deadline_s: float
    ) -> None:
        self._handles, self._board, self._gate, self._deadline_s = handles, board, gate, deadline_s
        self._repairs: dict[str, asyncio.Task[None]] = {}

    async def apply(self, update: WeightUpdate) -> list[WeightReceipt]:
        """Give these weights to every replica of their policy, and check what each one then holds.

        No episode fails for it: those inside end with the weights that they began with, new ones wait. Where a replica
        refuses the weights, all of them keep what they had.

        Returns:
            A receipt from each replica.

        Raises:
            WeightMismatch: a replica refuses them, or holds something else than was sent.
            TimeoutError: episodes did not end, or replicas did not hold the weights, within the deadline.
            KeyError: nobody serves the policy.
        """
        manifest = update.manifest
        handle = self._handles[manifest.policy]
        async with self._gate.update(manifest.policy, manifest.version):
            before = await asyncio.to_thread(latest_weights, self._board, manifest.policy, self._deadline_s)
            await asyncio.to_thread(publish_weights, self._board, update, self._deadline_s)
            try:
                receipts = await self._everywhere(handle, update)
                verify_receipts(manifest, receipts)
            except BaseException:
                await asyncio.to_thread(put_back_weights, self._board, manifest.policy, before, self._deadline_s)
                raise
            return receipts

    def repair(self, policy: str) -> None:
        """Begin to bring the newest weights to replicas that answered with others; several calls at a time are one.
        Where it fails, the next such answer begins it again."""
        task = self._repairs.get(policy)
        if task is None or task.done():
            task = self._repairs[policy] = asyncio.create_task(self._repair(policy))
            task.add_done_callback(_log_failure)

    async def _repair(self, policy: str) -> None:
        newest = await asyncio.to_thread(latest_weights, self._board, policy, self._deadline_s)
        if newest is not None:
            await self._everywhere(self._handles[policy], newest)

    async def _everywhere(self, handle: DeploymentHandle, update: WeightUpdate) -> list[WeightReceipt]:
        """Ask until all replicas that there are hold the update; what each one then says of itself."""
        version, ends = update.manifest.version, time.monotonic() + self._deadline_s
        await self._broadcast(handle, "apply_weights", update, ends=ends)
        while True:
            held = await self._broadcast(handle, "receipt", ends=ends)
            receipts = [receipt for receipt in held if receipt is not None and receipt.version == version]
            if held and len(receipts) == len(held):
                return receipts
            if time.monotonic() > ends:
                raise TimeoutError(
                    f"policy {update.manifest.policy!r} version {version}: {len(receipts)} of {len(held)} replicas "
                    f"hold it after {self._deadline_s:g} s"
                )
            await asyncio.sleep(_POLL_S)
            if len(receipts) < len(held):
                await self._broadcast(handle, "apply_weights", update, ends=ends)

    async def _broadcast(self, handle: DeploymentHandle, method: str, *arguments: Any, ends: float) -> list[Any]:
        """The answers of all replicas but those that are lost, which Serve replaces.

        Raises:
            TimeoutError: not all answered until `ends`.
            WeightMismatch: a replica refuses the weights.
        """
        try:
            response = handle.broadcast(method, *arguments)
            left = max(0.0, ends - time.monotonic())
            answers = await response.results_async(timeout_s=left, return_exceptions=True)
        except TimeoutError as error:
            raise TimeoutError(f"{method}: not every replica answered within {self._deadline_s:g} s") from error
        except Exception as error:
            if is_loss(error):  # there is no replica at the moment
                return []
            raise
        for answer in answers:
            if isinstance(answer, WeightMismatch):
                raise answer
            if isinstance(answer, Exception) and not is_loss(answer):
                raise answer
        return [answer for answer in answers if not isinstance(answer, Exception)]


def _log_failure(repair: asyncio.Task[None]) -> None:
    if not repair.cancelled() and (error := repair.exception()) is not None:
        logging.getLogger(__name__).warning("a replica could not be brought to the newest weights: %s", error)
