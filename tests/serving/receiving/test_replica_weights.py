"""How a replica takes an update that is pushed, with a scripted engine for vLLM's. Importing it loads vLLM."""

import asyncio
from types import SimpleNamespace

import pytest
import torch

from serving.gate import Gate
from serving.generation import ReplicaBroken
from weights.manifest import WeightMismatch, pack
from weights.receipts import verify_receipts

pytestmark = pytest.mark.engines

UPDATE = pack("actor", 4, {"a": torch.arange(4.0), "b": torch.ones(3)})


class Engine:
    """Takes messages and says afterwards that it holds what the update's manifest lists, unless told otherwise."""

    def __init__(self):
        self.calls = []
        self.holds = UPDATE.manifest.checksums
        self.receiving = asyncio.Event()  # what an engine waits for while it receives
        self.receiving.set()
        self.error = None

    async def update_weights(self, request):
        self.calls.append(("update_weights", request.update_info))
        if self.error is not None:
            raise self.error
        await self.receiving.wait()

    async def collective_rpc(self, method):
        assert method == "weight_report"
        return [{"checksums": self.holds, "fingerprint": [1.0], "fingerprint_before": [0.0]}]

    async def reset_prefix_cache(self):
        self.calls.append(("reset_prefix_cache",))
        return True

    def __getattr__(self, method):
        async def call(*arguments, **keywords):
            self.calls.append((method, *arguments))

        return call

    @property
    def names(self):
        return [call[0] for call in self.calls]


def scenario(steps, deadline_s=5.0):
    """Run `steps(weights, engine, gate)` on a new replica."""
    from serving.receiving.replica_weights import ReplicaWeights

    async def run():
        engine, gate, probes = Engine(), Gate(), iter("pqrstu")

        async def probe():
            return next(probes)

        settings = SimpleNamespace(model="no/folder", adapter_rank=None, call_deadline_s=deadline_s, transport="nccl")
        await steps(ReplicaWeights("r7", "actor", settings, engine, gate, probe), engine, gate)

    asyncio.run(asyncio.wait_for(run(), 30))


async def passes(gate):
    async with asyncio.timeout(5), gate.batch():
        return True


def test_a_pushed_update_goes_through_all_steps_and_is_proven():
    async def steps(weights, engine, gate):
        await weights.begin(UPDATE.manifest)
        assert engine.names == ["pause_generation"]
        await weights.take({"names": ["0"]})
        await weights.take({"names": ["1"]})
        receipt = await weights.finish()
        assert engine.names == [
            "pause_generation",
            "start_weight_update",
            "update_weights",
            "update_weights",
            "finish_weight_update",
            "reset_prefix_cache",
            "reset_mm_cache",
            "reset_encoder_cache",
            "resume_generation",
        ]
        assert [call[1] for call in engine.calls if call[0] == "update_weights"] == [{"names": ["0"]}, {"names": ["1"]}]
        verify_receipts(UPDATE.manifest, [receipt], ["r7"])
        assert (receipt.transport, receipt.probe, receipt.previous_probe) == ("nccl", "q", "p")
        assert weights.version == 4
        assert weights.receipt == receipt
        assert await passes(gate)

    scenario(steps)


def test_batches_wait_from_begin_to_finish():
    async def steps(weights, engine, gate):
        await weights.begin(UPDATE.manifest)
        batch = asyncio.create_task(passes(gate))
        await weights.take({})
        assert not batch.done()
        await weights.finish()
        assert await batch

    scenario(steps)


def test_a_sender_that_never_comes_leaves_the_old_weights_in_use():
    async def steps(weights, engine, gate):
        await weights.begin(UPDATE.manifest)
        await asyncio.wait([weights._under_way()])
        with pytest.raises(
            TimeoutError, match=r"replica 'r7' of the actor, version 4: .* 0.3 s; it waited for the sender"
        ):
            await weights.take({})
        assert engine.names == ["pause_generation", "resume_generation"]
        assert weights.version == 0
        assert await passes(gate)

    scenario(steps, deadline_s=0.3)


def test_a_sender_that_stops_in_the_middle_leaves_a_replica_that_answers_nothing():
    async def steps(weights, engine, gate):
        await weights.begin(UPDATE.manifest)
        await weights.take({})
        await asyncio.wait([weights._under_way()])
        with pytest.raises(TimeoutError, match="it waited for the sender, which sent only a part"):
            await weights.take({})
        with pytest.raises(ReplicaBroken, match="replica 'r7' of the actor, version 4: it failed to load it"):
            await passes(gate)

    scenario(steps, deadline_s=0.3)


def test_an_update_that_is_given_up_before_it_began_changes_nothing():
    async def steps(weights, engine, gate):
        from serving.receiving.replica_weights import UpdateAbandoned

        await weights.begin(UPDATE.manifest)
        await weights.abandon("its sender failed: out of memory")
        with pytest.raises(
            UpdateAbandoned, match="replica 'r7' of the actor, version 4: its sender failed: out of memory"
        ):
            await weights.take({})
        assert engine.names == ["pause_generation", "resume_generation"]
        assert await passes(gate)
        await weights.begin(UPDATE.manifest)  # the next one finds it ready
        await weights.take({})
        assert (await weights.finish()).version == 4

    scenario(steps)


def test_an_engine_that_waits_for_a_lost_sender_is_given_up_at_once():
    async def steps(weights, engine, gate):
        from serving.receiving.replica_weights import UpdateAbandoned

        engine.receiving.clear()
        await weights.begin(UPDATE.manifest)
        taking = asyncio.create_task(weights.take({}))
        while "update_weights" not in engine.names:
            await asyncio.sleep(0.01)
        await weights.abandon("its sender failed: it died")
        with pytest.raises(UpdateAbandoned, match="it died"):
            await taking
        with pytest.raises(ReplicaBroken, match="version 4"):
            await passes(gate)

    scenario(steps, deadline_s=20.0)


def test_what_the_engine_raises_reaches_the_sender_with_the_replicas_name():
    async def steps(weights, engine, gate):
        engine.error = Exception(
            "Call to collective_rpc method failed: policy 'actor' version 4: tensor 'b' has checksum x"
        )
        await weights.begin(UPDATE.manifest)
        with pytest.raises(RuntimeError, match=r"replica 'r7' of the actor, version 4: .*tensor 'b' has checksum"):
            await weights.take({})
        with pytest.raises(ReplicaBroken):
            await passes(gate)

    scenario(steps)


def test_a_parameter_that_differs_is_refused_at_the_end():
    async def steps(weights, engine, gate):
        engine.holds = UPDATE.manifest.checksums | {"b": "other"}
        await weights.begin(UPDATE.manifest)
        await weights.take({})
        with pytest.raises(WeightMismatch, match=r"'r7' of the actor, version 4: 1 parameters differ .*: b"):
            await weights.finish()
        assert weights.version == 0

    scenario(steps)


def test_steps_out_of_order_are_refused():
    async def steps(weights, engine, gate):
        with pytest.raises(RuntimeError, match="no update was begun"):
            await weights.take({})
        await weights.begin(UPDATE.manifest)
        with pytest.raises(RuntimeError, match="an update is under way"):
            await weights.begin(UPDATE.manifest)
        await weights.abandon("enough")

    scenario(steps)


def test_joining_leaves_an_earlier_group_first_and_has_a_deadline():
    async def joins(weights, engine, gate):
        await weights.join({"rank_offset": 3})
        assert engine.names == ["shutdown_weight_transfer_engine", "init_weight_transfer_engine"]
        assert engine.calls[1][1].init_info == {"rank_offset": 3}
        assert await passes(gate)

    async def waits_for_ever(weights, engine, gate):
        async def never(request):
            await asyncio.sleep(60)

        engine.init_weight_transfer_engine = never
        with pytest.raises(TimeoutError):
            await weights.join({})
        with pytest.raises(ReplicaBroken, match="replica 'r7' of the actor could not join its sender's group"):
            await passes(gate)

    scenario(joins)
    scenario(waits_for_ever, deadline_s=0.3)
