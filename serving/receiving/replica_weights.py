"""The weights that one VLM replica serves, and the two ways in which new ones come: fetched, or pushed by a sender.

Fetched (`apply`): the replica has the buckets before it stops anything. Pushed (`begin`, `take`, `finish`): it makes
ready, and a sender drives vLLM's weight transfer from outside. Both end in the same proof.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

from vllm.distributed.weight_transfer.base import WeightTransferInitRequest, WeightTransferUpdateRequest

from learner.checksums import checksums_digest
from learner.receipts import WeightReceipt
from learner.weights import Manifest, WeightMismatch, WeightUpdate, fetch, unpack
from serving.adapter_merge import AdapterMerger, adapter_receipt
from serving.inbox import Inbox
from serving.model_folder import check_names, folder_checksums
from serving.weight_receiver import bucket_messages

if TYPE_CHECKING:
    from vllm.v1.engine.async_llm import AsyncLLM

    from serving.gate import Gate
    from serving.vlm_config import VlmConfig


class UpdateAbandoned(RuntimeError):
    """The sender gave an update up."""


class ReplicaWeights:
    """Changes the weights of an engine between two batches, and proves what it then holds.

    An update that fails before the engine's parameters change leaves the old weights in use. After that point the gate
    is closed: the replica answers nothing until Serve has replaced it.

    Args:
        replica: the name by which receipts know the replica.
        policy: whose weights these are.
        settings: of the VLM.
        engine: vLLM's engine.
        gate: what batches pass through.
        probe: asks the engine one fixed question, and digests the answer.

    Attributes:
        version: of the weights in use; 0 is the model as it lies on disk.
        receipt: of the last update; None before the first.
    """

    def __init__(
        self,
        replica: str,
        policy: str,
        settings: VlmConfig,
        engine: AsyncLLM,
        gate: Gate,
        probe: Callable[[], Awaitable[str]],
    ) -> None:
        self.version, self.receipt = 0, None
        self._replica, self._policy, self._settings = replica, policy, settings
        self._engine, self._gate, self._probe = engine, gate, probe
        self._merger = AdapterMerger(settings.model)
        self._checksums: dict[str, str] | None = None
        self._inbox = Inbox()
        self._pushed: asyncio.Task[WeightReceipt] | None = None
        self._abandoned, self._waits_for = "", ""

    async def apply(self, update: WeightUpdate) -> WeightReceipt:
        """Fetch the buckets, check them, load them.

        Raises:
            WeightMismatch: other bytes than the manifest says, a name that was not consumed, or no effect.
            TimeoutError: the buckets, the batches under way or the engine took longer than `call_deadline_s`.
            ReplicaBroken: an earlier update failed.
        """
        sent, before = update.manifest, self.receipt
        update = await asyncio.to_thread(self._fetched, update)
        receipt = await self._replace(update.manifest, _each(bucket_messages(update)), "object_store")
        if sent.adapter is not None:
            self.receipt = adapter_receipt(sent, receipt, before)
        return self.receipt

    async def join(self, init_info: dict[str, Any]) -> None:
        """Meet the sender and the other replicas, as vLLM's trainer asks with this init info.

        Raises:
            TimeoutError: they did not all come within `call_deadline_s`.
        """
        async with self._gate.update(self._settings.call_deadline_s):
            try:
                async with asyncio.timeout(self._settings.call_deadline_s):
                    await self._engine.shutdown_weight_transfer_engine()  # the group of an earlier sender
                    await self._engine.init_weight_transfer_engine(WeightTransferInitRequest(init_info))
            except BaseException as error:
                stuck = f"{self._name} could not join its sender's group within {self._settings.call_deadline_s} s"
                self._gate.close(f"{stuck}: {error!r}")
                if isinstance(error, TimeoutError):
                    raise TimeoutError(stuck) from error
                raise

    async def begin(self, manifest: Manifest) -> None:
        """Make ready for a pushed update: batches are held back, nothing has changed yet.

        Raises:
            WeightMismatch: the model has not exactly these names and shapes.
            TimeoutError: batches under way took longer than `call_deadline_s`.
            RuntimeError: an update is under way.
        """
        if self._pushed is not None and not self._pushed.done():
            raise RuntimeError(f"{self._where(manifest)}: an update is under way; finish or abandon it first")
        await asyncio.to_thread(self._check_names, manifest)
        self._inbox, self._abandoned = Inbox(), ""
        self._pushed = asyncio.create_task(self._replace(manifest, self._inbox, self._settings.transport))
        self._pushed.add_done_callback(lambda task: task.cancelled() or task.exception())
        await self._unless_it_ends(self._inbox.opened.wait)

    async def take(self, message: dict[str, Any]) -> None:
        """Receive and load what this update info of vLLM's trainer announces. Raises what ended the update."""
        await self._unless_it_ends(lambda: self._inbox.put(message))

    async def finish(self, _: None = None) -> WeightReceipt:
        """All was sent: prove it and serve it. Raises what ended the update."""
        update = self._under_way()
        self._inbox.end()
        return await asyncio.shield(update)

    async def abandon(self, reason: str) -> None:
        """End a pushed update that is under way; what waits for it gets the reason."""
        if self._pushed is not None and not self._pushed.done():
            self._abandoned = reason
            self._pushed.cancel()
            await asyncio.wait([self._pushed], timeout=self._settings.call_deadline_s)

    def _fetched(self, update: WeightUpdate) -> WeightUpdate:
        """The weights to load, in local memory: the update's, or those of the model folder with its adapter."""
        if update.kind == "lora":
            if self.receipt is not None and self.receipt.merged is None:
                raise WeightMismatch(
                    f"{self._where(update.manifest)}: an adapter belongs to the weights of the model folder, and the "
                    f"replica was given all weights of version {self.version}; start it again"
                )
            fetched = fetch(update, self._settings.call_deadline_s)
            return self._merger.merged(fetched, self._engine.model_config.dtype)
        self._check_names(update.manifest)
        update = fetch(update, self._settings.call_deadline_s)
        try:
            for _ in unpack(update, own=False):  # compares every checksum
                pass
        except WeightMismatch as error:
            raise WeightMismatch(f"{self._name}, {error}") from error
        return update

    def _check_names(self, manifest: Manifest) -> None:
        try:
            check_names(self._settings.model, manifest)
        except WeightMismatch as error:
            raise WeightMismatch(f"{self._name}, {error}") from error

    async def _unless_it_ends(self, wait: Callable[[], Awaitable[Any]]) -> None:
        """Wait for something that happens only while the pushed update goes on."""
        update = self._under_way()
        waiting = asyncio.ensure_future(wait())
        try:
            await asyncio.wait({update, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                if update.cancelled():  # while it waited at the gate
                    raise UpdateAbandoned(f"{self._name}: {self._abandoned}")
                update.result()
                raise RuntimeError(f"{self._name}: the update ended before its sender had sent everything")
        finally:
            waiting.cancel()

    def _under_way(self) -> asyncio.Task[WeightReceipt]:
        if self._pushed is None:
            raise RuntimeError(f"{self._name}: no update was begun")
        return self._pushed

    async def _replace(
        self, manifest: Manifest, messages: AsyncIterable[dict[str, Any]], transport: str
    ) -> WeightReceipt:
        deadline_s = self._settings.call_deadline_s
        async with self._gate.update(deadline_s):
            if self._checksums is None:
                self._checksums = await asyncio.to_thread(folder_checksums, self._settings.model, manifest)
            untouched, self._waits_for = False, "the engine to finish what it was at"
            try:
                async with asyncio.timeout(deadline_s):
                    before = await self._probe()
                    await self._engine.pause_generation(mode="wait", clear_cache=True)  # chat does not pass the gate
                    untouched, self._waits_for = True, "the sender, which sent nothing"
                    async for message in messages:
                        self._waits_for = "the engine to receive and load weights"
                        if untouched:
                            untouched = False
                            await self._engine.start_weight_update()
                        await self._engine.update_weights(WeightTransferUpdateRequest(message))
                        self._waits_for = "the sender, which sent only a part"
                    self._waits_for = "the engine to finish the update"
                    reports = await self._finished(manifest)
                    after = await self._probe()
                for report in reports:
                    self._prove(manifest, report)
            except BaseException as error:
                failure = await self._failure(manifest, error, untouched)
                if failure is error:
                    raise
                raise failure from error
            previous, previous_version = self._checksums, self.version
            self.version, self._checksums = manifest.version, reports[0]["checksums"]
        self.receipt = WeightReceipt(
            self._replica,
            self._policy,
            manifest.version,
            checksums_digest(self._checksums),
            None if previous is None else checksums_digest(previous),
            previous_version,
            self._checksums,
            probe=after,
            previous_probe=before,
            transport=transport,
        )
        return self.receipt

    async def _finished(self, manifest: Manifest) -> list[dict[str, Any]]:
        """End the engine's update, empty its caches, let it go on; a report from each of its workers."""
        await self._engine.finish_weight_update(str(manifest.version))
        reports = await self._engine.collective_rpc("weight_report")
        if not await self._engine.reset_prefix_cache():
            raise RuntimeError("the prefix cache was not reset, as requests still hold blocks of it")
        await self._engine.reset_mm_cache()
        await self._engine.reset_encoder_cache()
        await self._engine.resume_generation()
        return reports

    def _prove(self, manifest: Manifest, report: dict[str, Any]) -> None:
        sent, loaded = manifest.checksums, report["checksums"]
        where = self._where(manifest)
        if unused := sorted(sent.keys() - loaded.keys()):
            raise WeightMismatch(f"{where}: vLLM put {len(unused)} tensors into no parameter: {', '.join(unused[:5])}")
        if wrong := sorted(name for name in sent if sent[name] != loaded[name]):
            raise WeightMismatch(f"{where}: {len(wrong)} parameters differ from what was sent: {', '.join(wrong[:5])}")
        if self._checksums not in (None, loaded) and report["fingerprint"] == report["fingerprint_before"]:
            raise WeightMismatch(f"{where}: the tensors were loaded, but the engine's parameters did not change")

    async def _failure(self, manifest: Manifest, error: BaseException, untouched: bool) -> BaseException:
        """What to raise for an error. The engine goes on with its old weights if nothing touched them."""
        where = self._where(manifest)
        if isinstance(error, TimeoutError):
            error = TimeoutError(
                f"{where}: it was not done within {self._settings.call_deadline_s} s; it waited for {self._waits_for}"
            )
        elif isinstance(error, asyncio.CancelledError) and self._abandoned:
            error = UpdateAbandoned(f"{where}: {self._abandoned}")
        elif type(error) is Exception:  # so vLLM hands on what its engine process raised
            error = RuntimeError(f"{where}: {error}")
        if untouched:
            try:
                async with asyncio.timeout(self._settings.call_deadline_s):
                    await self._engine.resume_generation()
            except Exception as stuck:
                self._gate.close(f"{where}: the engine did not go on after a failed update: {stuck!r}")
        else:
            self._gate.close(f"{where}: it failed to load it: {error!r}")
        return error

    def _where(self, manifest: Manifest) -> str:
        return f"{self._name}, version {manifest.version}"

    @property
    def _name(self) -> str:
        return f"replica {self._replica!r} of the {self._policy}"


async def _each(messages: list[dict[str, Any]]) -> AsyncIterator[dict[str, Any]]:
    for message in messages:
        yield message
