"""An Actor whose number of replicas Serve decides: also one that no broadcast reached has the newest weights."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from safetensors.torch import load_file

from serving.generation import Question, Sampling
from tests.local_cluster import local_ray
from weights.manifest import pack
from weights.receipts import verify_receipts

pytestmark = [pytest.mark.engines, pytest.mark.long]
GROWN_S = 600.0


@pytest.fixture(scope="module")
def served(folders):
    """The client of an Actor of one replica or two, and the board that it follows."""
    from serving.config import VlmConfig
    from serving.deployment import deploy_vlms, stop_vlms, wait_for_vlms
    from weights.board import WeightBoard

    with local_ray(2):
        board = WeightBoard(60.0)
        settings = VlmConfig(
            model=str(folders["actor"]), max_tokens=16, replicas=1, max_replicas=2, start_deadline_s=GROWN_S
        )
        deploy_vlms({"actor": settings}, board.name)
        yield wait_for_vlms({"actor": settings})["actor"], board
        stop_vlms(["actor"])


def versions(client, images) -> set[int]:
    questions = [Question("fix ?", index, index) for index in range(len(images))]
    answers = client.generate(images, questions, Sampling(n=2, max_tokens=16, temperature=1.0))
    assert [len(row) for row in answers] == [2] * len(images)
    return {answer.version for row in answers for answer in row}


def test_a_replica_that_no_broadcast_reached_takes_the_newest_weights_before_it_answers(served, folders, images):
    client, board = served
    assert versions(client, images) == {0}
    board.publish(pack("actor", 3, load_file(folders["other"] / "model.safetensors")))
    assert versions(client, images) == {3}
    assert set(client.versions().values()) == {3}


def test_serve_starts_another_replica_when_calls_wait_and_both_have_the_newest_weights(served, folders, images):
    client, board = served
    ends = time.monotonic() + GROWN_S
    with ThreadPoolExecutor(4) as callers:
        while client.running() != 2:
            assert time.monotonic() < ends, "no second replica came"
            assert set().union(*callers.map(lambda _: versions(client, images), range(8))) == {3}
    update = pack("actor", 4, load_file(folders["actor"] / "model.safetensors"))
    board.publish(update)
    receipts = client.apply_weights(update)
    verify_receipts(update.manifest, receipts)
    assert set(client.versions().values()) == {4}
    assert versions(client, images) == {4}
