"""Workers of the editor that are the ranks of its learner: real DeepSpeed engines in real Ray actors, two ranks."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import ray

from actors.fleet import Fleet, split
from actors.flow_path import FlowSde
from actors.inverse_diffuser import InverseDiffuser
from learner.config import EditorLearnerConfig
from learner.editor_rank import EditorRank
from learner.ranks import Learner, LearnerFailed
from tests.adapted import EDITOR_LORA
from tests.learner.plain_update import RATE
from tests.local_cluster import shared_ray
from weights.board import WeightBoard
from weights.manifest import WeightMismatch
from weights.receipts import verify_receipts

pytestmark = pytest.mark.engines

CONFIG = EditorLearnerConfig(
    lora=EDITOR_LORA, learning_rate=RATE, micro_batch=2, ranks=2, zero_stage=2, cpus_per_rank=0.5
)
SDE = FlowSde(eta=0.7, steps=5, window=(0, 3))
PROMPT = "red circle left of blue square"


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    with shared_ray():
        yield


@pytest.fixture(scope="module")
def board() -> Iterator[WeightBoard]:
    started = WeightBoard(60.0)
    yield started
    started.close()


@pytest.fixture(scope="module")
def fleet(flux_folder: Path, board: WeightBoard) -> Iterator[Fleet]:
    options = {
        "num_cpus": 0.5,
        "max_restarts": -1,
        "max_concurrency": 4,
        "runtime_env": {"env_vars": CONFIG.environment},
    }
    started = Fleet.start(EditorRank, 2, options, restart_s=60, path=str(flux_folder), board=board.name)
    yield started
    started.close()


@pytest.fixture(scope="module")
def alone(flux_folder: Path) -> InverseDiffuser:
    """An editor in this process, which gets its weights sent."""
    return InverseDiffuser(flux_folder, replica="alone")


def lent(fleet: Fleet, flux_folder: Path) -> Learner:
    return Learner("editor", flux_folder, CONFIG, lent=list(fleet.handles.values()))


def edited(editor: Fleet | InverseDiffuser, samples) -> tuple[list[int], np.ndarray]:
    """The versions that edits of the samples' images are marked with, and the images. One editor makes them in the
    parts that two share: rounding depends on what is in a batch."""
    images, prompts = [sample.image for sample in samples], [sample.edit_prompt for sample in samples]
    seeds = list(range(len(images)))
    parts = [slice(None)] if isinstance(editor, Fleet) else split(len(images), 2)
    edits = [edit for part in parts for edit in editor.edit(images[part], prompts[part], seeds[part], SDE)]
    return [edit.version for edit in edits], np.stack([edit.image for edit in edits])


def kill_one(fleet: Fleet) -> None:
    os.kill(ray.get(fleet.handles[fleet.names[0]].site.remote(), timeout=60).process, signal.SIGKILL)


def test_who_trains_samples_with_it_and_learns_as_a_learner_with_processes_of_its_own(
    fleet, alone, flux_folder, editor_samples, tmp_path
):
    parts = (editor_samples[:3], editor_samples[3:])
    with Learner("editor", flux_folder, CONFIG) as own:
        own.add(parts[0])
        first = own.update(parts[1])
        own.update(editor_samples)
        expected = own.weights(2)
        own.save(tmp_path / "second")
        own.update(editor_samples[:4])
        third = own.weights(3).manifest.digest

    before = edited(alone, editor_samples)
    with lent(fleet, flux_folder) as learner:
        version, pictures = edited(fleet, editor_samples)  # with an adapter that changes nothing yet
        assert version == before[0] == [0] * 5
        assert (pictures == before[1]).all()
        learner.add(parts[0])
        assert learner.update(parts[1]).digest == first.digest
        one = learner.weights(1)
        verify_receipts(one.manifest, fleet.confirm_weights(one.manifest), fleet.names)

        assert learner.update(editor_samples).version == 2
        with pytest.raises(WeightMismatch, match=r"policy 'editor' version 1: tensor '.*lora_[AB]\.weight' has"):
            fleet.confirm_weights(one.manifest)  # it samples with the second, and says so
        two = learner.weights(2)
        assert two.manifest == expected.manifest
        receipts = fleet.confirm_weights(two.manifest)
        verify_receipts(two.manifest, receipts, fleet.names)
        assert {(it.transport, it.previous_version, it.base) for it in receipts} == {
            ("shared", 1, expected.manifest.adapter.base)
        }
        with pytest.raises(WeightMismatch, match="takes no weights"):
            fleet.apply_weights(two)

        alone.apply_weights(two)
        version, pictures = edited(fleet, editor_samples)
        assert version == [2] * 5
        assert (pictures == edited(alone, editor_samples)[1]).all()
        assert (pictures != before[1]).any()
        learner.save(tmp_path / "shared")

    assert (edited(fleet, editor_samples)[1] == pictures).all()  # the learner is closed, the adapter is still there
    drawn = fleet.draw([PROMPT], [1], steps=3)[0]
    assert (drawn == alone.draw([PROMPT], [1], steps=3)[0]).all()
    for folder in ("shared", "second"):  # each is a state like the other
        with lent(fleet, flux_folder) as learner:
            assert learner.load(tmp_path / folder) == 2
            again = learner.weights(2)
            verify_receipts(again.manifest, fleet.confirm_weights(again.manifest), fleet.names)
            assert (edited(fleet, editor_samples)[1] == pictures).all()
            learner.update(editor_samples[:4])
            assert learner.weights(3).manifest.digest == third
    assert fleet.replaced == 0


def test_a_process_that_is_lost_samples_again_and_ends_the_learner_with_the_way_on(
    fleet, board, flux_folder, editor_samples, tmp_path
):
    learner = lent(fleet, flux_folder)
    learner.update(editor_samples)
    update = learner.weights(1)
    board.publish(update)
    board.settle()
    verify_receipts(update.manifest, fleet.confirm_weights(update.manifest), fleet.names)
    pictures = edited(fleet, editor_samples)[1]
    learner.save(tmp_path / "first")
    replaced = fleet.replaced
    kill_one(fleet)
    version, again = edited(fleet, editor_samples)
    assert version == [1] * 5
    assert (again == pictures).all()  # with the adapter of the board
    assert fleet.replaced == replaced + 1
    with pytest.raises(LearnerFailed, match=r"EditorRank-0: its process was started again.*--resume"):
        learner.update(editor_samples)
    with pytest.raises(LearnerFailed, match="is closed"):
        learner.update(editor_samples)
    with pytest.raises(LearnerFailed, match="trains no more"):
        fleet.confirm_weights(update.manifest)
    assert (edited(fleet, editor_samples)[1] == pictures).all()  # the other one was in an update, and is back, too
    with lent(fleet, flux_folder) as learner:
        assert learner.load(tmp_path / "first") == 1
        assert learner.weights().manifest == update.manifest
        assert learner.update(editor_samples).version == 2
        kill_one(fleet)
        with pytest.raises(LearnerFailed, match=r"was (lost|started again).*--resume"):
            learner.update(editor_samples)
    assert (edited(fleet, editor_samples)[1] == pictures).all()


def test_what_is_no_adapter_of_the_editor_is_refused(fleet, flux_folder):
    handle = fleet.handles[fleet.names[0]]
    for policy, config in (("actor", CONFIG), ("editor", EditorLearnerConfig())):
        with pytest.raises(ValueError, match="trains an adapter of policy 'editor', and nothing else"):
            ray.get(handle.become.remote(policy, str(flux_folder), config, {}, 0), timeout=60)
