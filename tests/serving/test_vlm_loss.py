"""A VLM replica and its engine that are asked for long, and that end or hang meanwhile."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
import pytest
from safetensors.torch import load_file

from experiments.faults.processes import family, title
from serving.generation import Question, Sampling
from tests.local_cluster import eventually, local_ray
from weights.manifest import pack
from weights.receipts import verify_receipts

pytestmark = pytest.mark.engines
TITLES = {
    "replica": "ray::ServeReplica:actor",
    "engine": "VLLM::EngineCore",
    "controller": "ray::ServeController",
}
END_S = 120.0


@pytest.fixture(scope="module")
def served(folders):
    """The client of an Actor, and the board that its replicas start with."""
    from serving.config import VlmConfig
    from serving.deployment import deploy_vlms, stop_vlms, wait_for_vlms
    from weights.board import WeightBoard

    with local_ray(2):
        settings = VlmConfig(model=str(folders["actor"]), max_tokens=4, call_deadline_s=6.0)
        board = WeightBoard(60.0)
        deploy_vlms({"actor": settings}, board.name)
        yield wait_for_vlms({"actor": settings})["actor"], board
        stop_vlms(["actor"])


@pytest.fixture
def client(served):
    return served[0]


def ask(client):
    grey = np.full((64, 64, 3), 90, np.uint8)
    questions = [Question("which ?", 0), Question("where ?", 0)]
    answers = client.generate([grey], questions, Sampling(max_tokens=4))
    return [answer.token_ids for (answer,) in answers]


def process_of(part: str) -> psutil.Process:
    (found,) = [process for process in family(os.getpid()) if title(process).startswith(TITLES[part])]
    return found


def test_batches_of_all_sizes_leave_an_engine_about_as_large_as_it_was(client):
    grey, random = np.full((64, 64, 3), 90, np.uint8), np.random.default_rng(0)

    def ask_many(batches):
        for _ in range(batches):
            lengths = random.integers(1, 60, random.integers(1, 9))
            client.generate([grey], [Question("red " * length, 0) for length in lengths], Sampling(max_tokens=4))
        return process_of("engine").memory_full_info().uss

    before = ask_many(10)
    assert ask_many(60) - before < 50e6


def test_a_replica_that_slept_answers_as_before_and_sleeps_when_nobody_is_inside(client):
    before = ask(client)
    with ThreadPoolExecutor(1) as pool:
        inside = pool.submit(ask, client)
        client.sleep()  # a batch is finished first, or begins after the wake
        client.wake()
        assert inside.result(60) == before
    assert ask(client) == before


@pytest.mark.long
@pytest.mark.parametrize("part", ["replica", "engine"])
def test_what_a_replica_leaves_unanswered_goes_to_the_one_that_takes_its_place(client, part):
    before, hurt = ask(client), process_of(part)
    hurt.kill()
    assert ask(client) == before
    assert process_of(part).pid != hurt.pid


@pytest.mark.long
def test_new_weights_for_an_engine_that_has_ended_go_to_the_replica_that_takes_its_place(served, folders):
    client, board = served
    update = pack("actor", 3, load_file(folders["other"] / "model.safetensors"))
    process_of("engine").kill()
    board.publish(update)
    receipts = client.apply_weights(update)
    verify_receipts(update.manifest, receipts, list(client.versions()))
    assert {receipt.version for receipt in receipts} == set(client.versions().values()) == {3}


def test_a_replica_goes_on_under_a_serve_controller_that_takes_the_place_of_a_lost_one(client):
    from ray import serve

    before, replica, lost = ask(client), process_of("replica"), process_of("controller")
    lost.kill()
    lost.wait(END_S)  # from now on the new one answers, with DEPLOYING until it has found its replicas
    eventually("the actor", lambda: serve.status().applications["actor"].status, "RUNNING", END_S)
    assert ask(client) == before
    assert process_of("replica").pid == replica.pid
    assert process_of("controller").pid != lost.pid


def test_a_replica_whose_engine_hangs_is_given_up_and_replaced(client):
    before = ask(client)
    os.kill(process_of("engine").pid, signal.SIGSTOP)
    with pytest.raises(TimeoutError, match=r"within call_deadline_s = 6 s; .*process \d+ on node .*, log \S+\) did"):
        ask(client)
    assert ask(client) == before
