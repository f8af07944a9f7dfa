import contextlib
import os
import pickle
import re
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.diffuser import Diffuser
from actors.fleet import Fleet, split
from actors.fleet_error import ReplicaDied, ReplicaStarved, ReplicaTimeout
from actors.flow_path import FlowSde
from actors.flux_model import FluxModel
from actors.inverse_diffuser import InverseDiffuser
from tests.actors.clerk import Clerk
from tests.local_cluster import shared_ray
from weights.board import WeightBoard
from weights.manifest import pack, publish, publish_tensors
from weights.receipts import verify_receipts

PROMPTS = ["red circle left of blue square", "blue square above green star", "green star below red circle"]


@given(st.integers(0, 200), st.integers(1, 20))
@settings(deadline=None)
def test_a_batch_is_split_into_contiguous_even_parts(count, parts):
    slices = split(count, parts)
    assert [i for part in slices for i in range(count)[part]] == list(range(count))
    lengths = [part.stop - part.start for part in slices]
    assert len(slices) == min(count, parts)
    assert not lengths or 1 <= min(lengths) <= max(lengths) <= min(lengths) + 1


def test_a_fleet_needs_replicas():
    with pytest.raises(ValueError, match="handles is empty"):
        Fleet({})


@pytest.fixture(scope="module")
def ray_cluster():
    import ray

    with shared_ray():
        yield ray


@pytest.fixture(scope="module")
def clerks(ray_cluster):
    fleet = Fleet.start(Clerk, 2, {"num_cpus": 0}, deadline_s=120)
    yield fleet
    fleet.close()


@pytest.mark.engines
def test_answers_come_in_the_order_of_the_rows(clerks):
    answers = clerks.split_call("stamp", [list(range(5))])
    assert answers == [(0, "Clerk-0"), (1, "Clerk-0"), (2, "Clerk-0"), (3, "Clerk-1"), (4, "Clerk-1")]
    assert clerks.split_call("stamp", [[7]]) == [(7, "Clerk-0")]
    assert clerks.split_call("stamp", [[]]) == []
    with pytest.raises(ValueError, match=r"stamp: columns have lengths \[1, 2\]"):
        clerks.split_call("stamp", [[1], [1, 2]])


@pytest.mark.engines
def test_of_replicas_that_work_together_the_slowest_counts(clerks):
    before = clerks.compute_seconds
    clerks.split_call("stamp", [[1, 2]], delay_s=0.3)
    assert 0.3 <= clerks.compute_seconds - before < 0.6
    clerks.split_call("stamp", [[]])
    assert clerks.compute_seconds - before < 0.6


@pytest.mark.engines
def test_a_hanging_replica_is_named_when_the_deadline_passes(clerks):
    start = time.monotonic()
    with pytest.raises(ReplicaTimeout, match=r"Clerk-1 \(process \d+ on .*\): no answer to stamp within 1 s") as caught:
        clerks._gather(
            "stamp",
            {
                "Clerk-0": lambda handle: handle.stamp.remote([1]),
                "Clerk-1": lambda handle: handle.stamp.remote([2], 10.0),
            },
            1.0,
        )
    assert "Clerk-0" not in str(caught.value)
    assert time.monotonic() - start < 8


@pytest.mark.engines
def test_a_dead_replica_is_named(ray_cluster):
    fleet = Fleet.start(Clerk, 1, {"num_cpus": 0}, deadline_s=120)
    with pytest.raises(ReplicaDied) as caught:
        fleet.broadcast("die")
    said = re.fullmatch(
        r"Clerk-0 \(process (\d+) on node ([\d.]+), log (.+)\) died during die: (.+)", str(caught.value)
    )
    assert said, caught.value
    assert said[1] in said[3]
    assert Path(said[3]).is_file()
    assert "its log" in said[4]
    assert "dmesg" in said[4]


@pytest.mark.engines
def test_an_error_of_the_replicas_own_keeps_its_type(clerks):
    with pytest.raises(ValueError, match=r"rows \[1\]") as caught:
        clerks.split_call("refuse", [[1]])
    assert "raised by refuse of Clerk-0" in caught.value.__notes__[0]


@pytest.mark.engines
def test_a_replica_that_cannot_load_says_why(ray_cluster):
    with pytest.raises(ReplicaDied, match=r"Diffuser-0 .* died during site: .*/absent' does not exist; give a folder"):
        Fleet.start(Diffuser, 1, {"num_cpus": 0}, deadline_s=120, path="/nowhere/models/absent")


@pytest.mark.engines
def test_two_replicas_draw_edit_and_take_new_weights(ray_cluster, flux_folder, flux):
    diffusers = Fleet.start(Diffuser, 1, {"num_cpus": 0}, path=flux_folder)
    editors = Fleet.start(InverseDiffuser, 2, {"num_cpus": 0}, path=flux_folder)
    try:
        images = diffusers.draw(PROMPTS, [1, 2, 3], steps=2)
        here = flux.draw(PROMPTS, [1, 2, 3], steps=2)
        assert np.abs(np.stack(images).astype(int) - np.stack(here).astype(int)).max() <= 1

        edits = editors.edit(images, PROMPTS, [4, 5, 6], FlowSde(0.7, 3))
        local = flux.edit(images, PROMPTS, [4, 5, 6], FlowSde(0.7, 3))
        for there, mine in zip(edits, local, strict=True):
            assert there.version == 0
            np.testing.assert_allclose(there.path.latents, mine.path.latents, atol=1e-4)

        tensors = {name: tensor + 0.1 for name, tensor in flux.transformer.state_dict().items()}
        update = publish_tensors("editor", 1, tensors, bucket_bytes=1 << 20)
        assert update.manifest == pack("editor", 1, tensors, bucket_bytes=1 << 20).manifest
        receipts = editors.broadcast("apply_weights", update)
        verify_receipts(update.manifest, receipts.values(), editors.names)
        assert set(editors.broadcast("version").values()) == {1}
        assert {edit.version for edit in editors.edit(images, PROMPTS, [4, 5, 6])} == {1}
    finally:
        editors.close()
        diffusers.close()


@pytest.mark.engines
@pytest.mark.parametrize("how", [pytest.param(signal.SIGKILL, marks=pytest.mark.long), signal.SIGSTOP])
def test_a_replica_that_dies_or_hangs_is_started_again_and_its_rows_are_answered(ray_cluster, how):
    fleet = Fleet.start(Clerk, 2, {"num_cpus": 0, "max_restarts": -1}, deadline_s=120, restart_s=60)
    pids = fleet.broadcast("pid")
    os.kill(pids["Clerk-1"], how)
    assert fleet.split_call("stamp", [[1, 2]], deadline_s=5) == [(1, "Clerk-0"), (2, "Clerk-1")]
    assert fleet.replaced == 1
    assert fleet.broadcast("pid")["Clerk-1"] != pids["Clerk-1"]
    fleet.close()


@pytest.mark.engines
def test_a_replica_without_memory_is_started_again_once(ray_cluster, tmp_path):
    fleet = Fleet.start(Clerk, 1, {"num_cpus": 0, "max_restarts": -1}, deadline_s=120, restart_s=60)
    once, always = tmp_path / "once", tmp_path / "always"
    once.mkdir()
    always.mkdir()
    pids = [fleet.broadcast("pid")["Clerk-0"]]
    assert fleet.split_call("starve", [[1, 2]], folder=str(once), processes=1) == [1, 2]
    pids.append(fleet.broadcast("pid")["Clerk-0"])
    assert sorted(int(file.name) for file in once.iterdir()) == sorted(pids)
    with pytest.raises(ReplicaStarved) as caught:
        fleet.split_call("starve", [[1, 2]], folder=str(always), processes=9)
    assert re.fullmatch(
        r"Clerk-0 \(process \d+ on node .*, log .*\) could not get the memory that it needs for starve: could not "
        "create a primitive; use a larger node or GPU, or lower the number of workers on it",
        str(caught.value),
    )
    assert len(list(always.iterdir())) == 2
    assert fleet.replaced == 2
    fleet.close()


@pytest.mark.engines
def test_an_editor_that_starts_again_has_the_newest_weights_before_its_first_edit(ray_cluster, flux_folder):
    board = WeightBoard(deadline_s=60)
    options = {"num_cpus": 0, "max_restarts": -1, "max_concurrency": 2}
    fleet = Fleet.start(InverseDiffuser, 1, options, deadline_s=120, restart_s=120, path=flux_folder, board=board.name)
    weights = {n: t + 0.125 for n, t in FluxModel(flux_folder).transformer.state_dict().items()}
    board.publish(publish(pack("editor", 3, weights)))
    image = np.zeros((64, 64, 3), np.uint8)
    assert fleet.edit([image], PROMPTS[:1], [0])[0].version == 0
    ray_cluster.kill(fleet.handles["InverseDiffuser-0"], no_restart=False)
    assert fleet.edit([image], PROMPTS[:1], [0])[0].version == 3
    fleet.close()
    board.close()


@pytest.mark.engines
@pytest.mark.parametrize("how", [signal.SIGKILL, pytest.param(signal.SIGSTOP, marks=pytest.mark.long)])
def test_an_elastic_fleet_goes_on_without_a_replica_that_dies_or_hangs(ray_cluster, how):
    fleet = Fleet.start(Clerk, 3, {"num_cpus": 0, "max_restarts": -1}, deadline_s=120, restart_s=600)
    fleet.elastic = True
    pids = fleet.broadcast("pid")
    os.kill(pids["Clerk-1"], how)
    began = time.monotonic()
    answers = fleet.split_call("stamp", [[1, 2, 3]], deadline_s=5)
    assert [row for row, _ in answers] == [1, 2, 3]
    assert [clerk for _, clerk in answers] == ["Clerk-0", "Clerk-0", "Clerk-2"]
    assert (fleet.names, list(fleet.expelled), fleet.replaced) == (["Clerk-0", "Clerk-2"], ["Clerk-1"], 1)
    assert set(fleet.broadcast("pid")) == {"Clerk-0", "Clerk-2"}
    assert time.monotonic() - began < 60
    again, ends = None, time.monotonic() + 60
    while again in (None, pids["Clerk-1"]) and time.monotonic() < ends:
        with contextlib.suppress(ray_cluster.exceptions.ActorUnavailableError):  # it is being started again
            again = ray_cluster.get(fleet.expelled["Clerk-1"].pid.remote(), timeout=60)
        time.sleep(0.2)
    assert again not in (None, pids["Clerk-1"])
    fleet.close()


@pytest.mark.engines
@pytest.mark.long
def test_the_last_replica_of_an_elastic_fleet_is_waited_for(ray_cluster):
    fleet = Fleet.start(Clerk, 2, {"num_cpus": 0, "max_restarts": -1}, deadline_s=120, restart_s=60)
    fleet.elastic = True
    for pid in fleet.broadcast("pid").values():
        os.kill(pid, signal.SIGKILL)
    assert [row for row, _ in fleet.split_call("stamp", [[1, 2]], deadline_s=30)] == [1, 2]
    *others, last = fleet.names
    for name in others:
        ray_cluster.kill(fleet.leave(name))
    with pytest.raises(ValueError, match="is the fleet's last replica"):
        fleet.leave(last)
    fleet.close()


@pytest.mark.engines
def test_one_more_replica_takes_part_once_it_has_joined_and_a_copy_keeps_those_that_it_had(ray_cluster):
    fleet = Fleet.start(Clerk, 1, {"num_cpus": 0}, deadline_s=120)
    before = pickle.loads(pickle.dumps(fleet))
    name, handle = fleet.start_another()
    assert (name, fleet.names) == ("Clerk-1", ["Clerk-0"])
    fleet.join(name, handle)
    assert fleet.split_call("stamp", [[1, 2]]) == [(1, "Clerk-0"), (2, "Clerk-1")]
    assert before.split_call("stamp", [[1, 2]]) == [(1, "Clerk-0"), (2, "Clerk-0")]
    after = pickle.loads(pickle.dumps(fleet))
    ray_cluster.kill(fleet.leave("Clerk-1"))
    assert fleet.start_another()[0] == "Clerk-2"  # no name is used again
    after.elastic, after.restart_s = True, 60.0
    assert after.split_call("stamp", [[1, 2]]) == [(1, "Clerk-0"), (2, "Clerk-0")]
    with pytest.raises(RuntimeError, match="were not started here"):
        after.start_another()
    fleet.close()
