"""A replica of vLLM that has a part of a GPU, and takes turns with others there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.gpu_round.memory import used_bytes
from benchmarks.tiny_families.player import player
from serving.client import VlmClient
from serving.config import VlmConfig
from serving.generation import Question, Sampling
from tests.local_cluster import local_ray

pytestmark = [pytest.mark.engines, pytest.mark.gpu]
PART = 0.25


@pytest.fixture(scope="module")
def quarter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[VlmClient, int]]:
    """A replica that may take a quarter of the GPU, and fills it with its cache; and what was on the GPU before."""
    from serving.deployment import start_vlms, stop_vlms

    folder: Path = player("qwen3", tmp_path_factory.mktemp("vlm") / "qwen3")
    settings = VlmConfig(
        model=str(folder),
        dtype="bfloat16",
        max_model_len=1024,
        gpus=PART,
        kv_cache_gib=None,
        offload="cpu",
        engine={"enforce_eager": True},
        start_deadline_s=200.0,
    )
    before = used_bytes()
    with local_ray(4, num_gpus=1):
        yield start_vlms({"actor": settings})["actor"], before
        stop_vlms(["actor"])


def answers(client: VlmClient) -> list[list[int]]:
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    found = client.generate([picture], [Question("What is wrong?", 0)] * 2, Sampling(max_tokens=16))
    return [answer.token_ids for row in found for answer in row]


def test_a_replica_fills_its_part_of_a_gpu_and_no_more(quarter: tuple[VlmClient, int]) -> None:
    _, before = quarter
    part = PART * torch.cuda.get_device_properties(0).total_memory
    assert 0.6 * part < used_bytes() - before <= part


def test_a_replica_that_sleeps_gives_its_gpu_back_and_answers_as_before(quarter: tuple[VlmClient, int]) -> None:
    client, before = quarter
    said, awake = answers(client), used_bytes() - before
    client.sleep()
    assert used_bytes() - before < 0.2 * awake
    client.wake()
    assert used_bytes() - before > 0.8 * awake
    assert answers(client) == said
    assert all(said)
