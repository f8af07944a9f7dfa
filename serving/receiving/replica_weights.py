"""The weights that one VLM replica serves, and the two ways in which new ones come: fetched, or pushed by a sender.

Fetched (`apply`): the replica has the buckets before it stops anything. Pushed (`begin`, `take`, `finish`): it makes
ready, and a sender drives vLLM's weight transfer from outside. Both end in the same proof.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from vllm.distributed.weight_transfer.base import WeightTransferInitRequest, WeightTransferUpdateRequest

from serving.model_folder import check_names, folder_checksums
from serving.receiving.adapter_beside import AdapterBeside
from serving.receiving.adapter_merge import AdapterMerger, adapter_receipt
from serving.receiving.base_model import BaseModel
from serving.receiving.engine_change import EngineChange, UpdateAbandoned
from serving.receiving.inbox import Inbox
from serving.receiving.receiver import bucket_messages
from weights.checksums import checksums_digest
from weights.manifest import Manifest, WeightMismatch, WeightUpdate, fetch, unpack
from weights.receipts import WeightReceipt

if TYPE_CHECKING:
    from vllm.lora.request import LoRARequest
    from vllm.v1.engine.async_llm import AsyncLLM

    from serving.config import VlmConfig
    from serving.gate import Gate


class ReplicaWeights:
    """Changes the weights of an engine between two batches (see `EngineChange`), and proves what it then holds.

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
        self.version = 0
        self.receipt: WeightReceipt | None = None
        self._replica, self._policy, self._settings = replica, policy, settings
        self._engine, self._gate = engine, gate
        self._change = EngineChange(engine, gate, probe, settings.call_deadline_s)
        base = BaseModel(settings.model)
        self._merger = AdapterMerger(base)
        self._beside = AdapterBeside(base, engine, policy)
        self._checksums: dict[str, str] | None = None
        self._inbox = Inbox()
        self._pushed: asyncio.Task[WeightReceipt] | None = None

    @property
    def adapter(self) -> LoRARequest | None:
        """What a request says that is to be answered with the adapter beside the weights; None where there is none."""
        return self._beside.request

    async def apply(self, update: WeightUpdate) -> WeightReceipt:
        """Fetch the buckets, check them, load them.

        Raises:
            WeightMismatch: other bytes than the manifest says, a name that was not consumed, or no effect.
            TimeoutError: the buckets, the batches under way or the engine took longer than `call_deadline_s`.
            ReplicaBroken: an earlier update failed.
        """
        sent, before = update.manifest, self.receipt
        update = await asyncio.to_thread(self._fetched, update)
        if sent.adapter is not None and self._settings.adapter_rank is not None:
            return await self._put_beside(update)
        receipt = await self._replace(update.manifest, _each(bucket_messages(update)), "object_store")
        if sent.adapter is not None:
            receipt = self.receipt = adapter_receipt(sent, receipt, before, self._merger.surviving)
        return receipt

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
        self._refuse_all_weights(manifest)
        await asyncio.to_thread(self._check_names, manifest)
        self._inbox, self._change.abandoned = Inbox(), ""
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
            self._change.abandoned = reason
            self._pushed.cancel()
            await asyncio.wait([self._pushed], timeout=self._settings.call_deadline_s)

    def _fetched(self, update: WeightUpdate) -> WeightUpdate:
        """The weights to load, in local memory: the update's, or those of the model folder with its adapter, or
        the adapter alone where it is to lie beside them."""
        if update.kind == "lora":
            if self.receipt is not None and self.receipt.base is None:
                raise WeightMismatch(
                    f"{self._where(update.manifest)}: an adapter belongs to the weights of the model folder, and the "
                    f"replica was given all weights of version {self.version}; start it again"
                )
            fetched = fetch(update, self._settings.call_deadline_s)
            if self._settings.adapter_rank is not None:
                return fetched
            return self._merger.merged(fetched, self._engine.model_config.dtype)
        self._refuse_all_weights(update.manifest)
        self._check_names(update.manifest)
        update = fetch(update, self._settings.call_deadline_s)
        try:
            for _ in unpack(update, own=False):  # compares every checksum
                pass
        except WeightMismatch as error:
            raise WeightMismatch(f"{self._name}, {error}") from error
        return update

    def _refuse_all_weights(self, manifest: Manifest) -> None:
        if self._settings.adapter_rank is not None:
            raise WeightMismatch(
                f"{self._where(manifest)}: these are all weights, and the replica holds an adapter beside those of its "
                "model folder; set vlm.actor.adapter=merged"
            )

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
                    raise UpdateAbandoned(f"{self._name}: {self._change.abandoned}")
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
        """Put all tensors that come with these messages into the engine's parameters."""
        if self._checksums is None:
            self._checksums = await asyncio.to_thread(folder_checksums, self._settings.model, manifest)
        reports: list[dict[str, Any]] = []

        async def load() -> None:
            self._change.waits_for = "the sender, which sent nothing"
            async for message in messages:
                self._change.waits_for = "the engine to receive and load weights"
                if self._change.untouched:
                    self._change.touched()
                    await self._engine.start_weight_update()
                await self._engine.update_weights(WeightTransferUpdateRequest(message))
                self._change.waits_for = "the sender, which sent only a part"
            self._change.waits_for = "the engine to finish the update"
            await self._engine.finish_weight_update(str(manifest.version))
            reports.extend(await self._engine.collective_rpc("weight_report"))

        def accept(before: str, after: str) -> None:
            for report in reports:
                self._prove(manifest, report)
            self._hold(manifest, reports[0]["checksums"], before, after, transport)

        await self._change.make(self._where(manifest), load, accept)
        return self._held

    async def _put_beside(self, update: WeightUpdate) -> WeightReceipt:
        """Put an adapter, whose buckets are in local memory, beside the engine's weights."""
        manifest, where = update.manifest, self._where(update.manifest)
        tensors = await asyncio.to_thread(self._beside.checked, where, update)
        await self._beside.refuse_unbound(where, update)
        reports: list[dict[str, Any]] = []

        async def load() -> None:
            self._change.waits_for = "the engine to load an adapter"
            reports.extend(await self._beside.load(update, tensors, self._change.touched))

        def accept(before: str, after: str) -> None:
            for report in reports:
                self._compare(manifest, report["checksums"])
            self._hold(manifest, reports[0]["checksums"], before, after, "object_store")

        await self._change.make(where, load, accept)
        assert manifest.adapter is not None, "its fit was checked"
        self.receipt = replace(self._held, base=manifest.adapter.base)
        return self.receipt

    def _hold(self, manifest: Manifest, checksums: dict[str, str], before: str, after: str, transport: str) -> None:
        """From now on this is what the replica serves."""
        self.receipt = WeightReceipt(
            self._replica,
            self._policy,
            manifest.version,
            checksums_digest(checksums),
            None if self._checksums is None else checksums_digest(self._checksums),
            self.version,
            checksums,
            probe=after,
            previous_probe=before,
            transport=transport,
        )
        self.version, self._checksums = manifest.version, checksums

    def _prove(self, manifest: Manifest, report: dict[str, Any]) -> None:
        loaded = report["checksums"]
        self._compare(manifest, loaded)
        if self._checksums not in (None, loaded) and report["fingerprint"] == report["fingerprint_before"]:
            raise WeightMismatch(
                f"{self._where(manifest)}: the tensors were loaded, but the engine's parameters did not change"
            )

    def _compare(self, manifest: Manifest, loaded: dict[str, str]) -> None:
        """Refuse what a worker holds if it is not what was sent."""
        sent, where = manifest.checksums, self._where(manifest)
        if unused := sorted(sent.keys() - loaded.keys()):
            raise WeightMismatch(f"{where}: vLLM put {len(unused)} tensors into no parameter: {', '.join(unused[:5])}")
        if wrong := sorted(name for name in sent if sent[name] != loaded[name]):
            raise WeightMismatch(f"{where}: {len(wrong)} parameters differ from what was sent: {', '.join(wrong[:5])}")
        if added := sorted(loaded.keys() - sent.keys()):
            raise WeightMismatch(f"{where}: vLLM holds {len(added)} parameters that nobody sent: {added[:5]}")

    def _where(self, manifest: Manifest) -> str:
        return f"{self._name}, version {manifest.version}"

    @property
    def _held(self) -> WeightReceipt:
        assert self.receipt is not None, "an update has just ended"
        return self.receipt

    @property
    def _name(self) -> str:
        return f"replica {self._replica!r} of the {self._policy}"


async def _each(messages: list[dict[str, Any]]) -> AsyncIterator[dict[str, Any]]:
    for message in messages:
        yield message
