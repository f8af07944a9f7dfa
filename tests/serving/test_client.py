"""A client whose replicas are played by a script: what it asks, and when it is content."""

from __future__ import annotations

import pickle
from types import SimpleNamespace

import numpy as np
import pytest
from ray.serve._private.common import DeploymentID
from ray.serve.exceptions import DeploymentUnavailableError

from serving import client as vlm_client
from serving.client import VlmClient
from serving.config import VlmConfig
from serving.generation import Question, ReplicaBroken, Sampling, VlmError
from weights.receipts import WeightReceipt


class Replicas:
    """A deployment's handle. `broadcasts` are the answers of one broadcast after the other, or what it raises; the
    first batches raise `losses`."""

    def __init__(self, broadcasts=(), losses=()) -> None:
        self.broadcasts, self.losses, self.asked, self.batches = list(broadcasts), list(losses), [], []
        self.generate_batch = SimpleNamespace(remote=self._generate)

    def broadcast(self, method, *_):
        self.asked.append(method)
        return SimpleNamespace(results_async=self._results)

    async def _results(self, timeout_s):
        found = self.broadcasts.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    def _generate(self, batch):
        self.batches.append(len(batch.questions))
        answers = ([[question.text] for question in batch.questions], 0.5)
        loss = self.losses.pop(0) if self.losses else None

        def result(timeout_s):
            if loss is not None:
                raise loss
            return answers

        return SimpleNamespace(result=result)


def client(handle, **settings) -> VlmClient:
    return VlmClient(handle, "actor", VlmConfig(model="owner/name", start_deadline_s=1.0, **settings))


def receipts(*versions: int) -> list[WeightReceipt]:
    return [WeightReceipt(f"r{index}", "actor", version, "d", None) for index, version in enumerate(versions)]


NONE_RUNS = DeploymentUnavailableError(DeploymentID(name="VlmServer:actor", app_name="actor"))
UPDATE = SimpleNamespace(manifest=SimpleNamespace(version=4))


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(vlm_client, "_POLL_S", 0.01)


@pytest.mark.parametrize(("settings", "parts"), [({}, [6]), ({"replicas": 2}, [3, 3]), ({"max_replicas": 3}, [2] * 3)])
def test_questions_are_split_over_the_replicas_that_there_may_be(settings, parts):
    replicas = Replicas()
    questions = [Question(str(number), 0, None) for number in range(6)]
    found = client(replicas, **settings).generate([np.zeros((8, 8, 3), np.uint8)], questions, Sampling(max_tokens=4))
    assert found == [[str(number)] for number in range(6)]
    assert replicas.batches == parts


def test_fixed_replicas_are_waited_for_until_all_of_them_hold_the_weights():
    broken = [ReplicaBroken("lost"), receipts(4), [*receipts(4), None], receipts(4, 3), receipts(4, 4)]
    replicas = Replicas(broken)
    assert client(replicas, replicas=2).apply_weights(UPDATE) == receipts(4, 4)
    assert replicas.asked == ["apply_weights", "receipt", "receipt", "receipt", "receipt"]


def test_where_serve_decides_those_that_there_are_are_asked_again_until_none_is_lost():
    replicas = Replicas([ReplicaBroken("ended"), VlmError("no running replica"), receipts(4, 4)])
    found = client(replicas, replicas=1, max_replicas=4)
    assert found.apply_weights(UPDATE) == receipts(4, 4)
    assert replicas.asked == ["apply_weights"] * 3


IDENTITIES = [("r0", 4, "here"), ("r1", 4, "there")]


@pytest.mark.parametrize("lost", [NONE_RUNS, ReplicaBroken("its engine ended"), IDENTITIES[:1]])
def test_a_replica_that_is_lost_after_its_receipt_has_a_successor_with_one(lost):
    replicas = Replicas([lost, receipts(4), receipts(4, 4)])
    earlier = [WeightReceipt(name, "actor", 4, "d", None) for name in ("r0", "r1 before it")]
    assert client(replicas, replicas=2).held_now(UPDATE, earlier) == (receipts(4, 4), ["r0", "r1"])
    assert replicas.asked == ["identity", "receipt", "receipt"]


def test_a_replica_without_a_receipt_is_named_unless_serve_decides_how_many_there_are():
    assert client(Replicas([IDENTITIES]), replicas=2).held_now(UPDATE, receipts(4)) == (receipts(4), ["r0", "r1"])
    elastic = client(Replicas([IDENTITIES]), max_replicas=4)
    assert elastic.held_now(UPDATE, receipts(4)) == (receipts(4), ["r0"])


def test_while_the_only_replica_is_being_replaced_its_successor_is_waited_for():
    replicas = Replicas([NONE_RUNS, NONE_RUNS, [None], receipts(4)], losses=[NONE_RUNS, NONE_RUNS])
    waits = client(replicas)
    assert waits.apply_weights(UPDATE) == receipts(4)
    asked = ([np.zeros((8, 8, 3), np.uint8)], [Question("a", 0, None)], Sampling(max_tokens=4))
    found = waits.generate(*asked)
    assert (found, waits.replaced) == ([["a"]], 1)
    with pytest.raises(VlmError, match=r"took its place within start_deadline_s = 1 s: apply_weights: .* no running"):
        client(Replicas([NONE_RUNS] * 1000)).apply_weights(UPDATE)
    with pytest.raises(
        VlmError, match=r"took its place within start_deadline_s = 1 s: .*VlmServer:actor.* unavailable"
    ):
        client(Replicas(losses=[NONE_RUNS] * 1000)).generate(*asked)
    with pytest.raises(VlmError, match="identity: the actor has no running replica"):
        client(Replicas([NONE_RUNS])).versions()
    with pytest.raises(VlmError, match="load: the actor has no running replica"):
        client(Replicas([NONE_RUNS])).transfer("load", {"r0": 1})


def test_replicas_are_counted_where_serve_decides_how_many_there_are():
    assert client(Replicas(), replicas=2).running() == 2
    identities = [("a", 4, "here"), ("b", 4, "there")]
    counted = client(Replicas([identities, TimeoutError("late")]), max_replicas=4)
    assert [counted.running(), counted.running()] == [2, None]


@pytest.mark.parametrize("lost", [NONE_RUNS, ReplicaBroken("its engine ended"), TimeoutError("it hangs")])
def test_a_replica_that_is_lost_while_memory_is_asked_for_costs_that_number_alone(lost):
    asked = client(Replicas([[5, 7], lost, [3]]), replicas=2)
    assert [asked.peak_gpu_bytes() for _ in range(3)] == [7, None, 3]


class Unpickled:
    """A handle of Serve is another object wherever it arrives."""


def test_copies_of_a_client_that_arrive_in_a_process_share_one_handle():
    sent, other = client(Unpickled()), client(Unpickled())
    first, second, third = (pickle.loads(pickle.dumps(one)) for one in (sent, sent, other))
    assert first._handle is second._handle
    assert third._handle is not first._handle
    first.compute_seconds += 1.0
    assert second.compute_seconds == 0.0
