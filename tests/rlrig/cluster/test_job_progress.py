"""What a job is told of its run. The store of these tests keeps jobs in memory; the last two use a real Ray."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from ray.dashboard.modules.job.common import JobInfo, JobStatus

from actors.replica import Replica
from reports.status.reader import status_of
from reports.status.status import RunStatus
from rlrig.cluster.job_progress import (
    FOLDER_KEY,
    STATUS_KEY,
    JobProgress,
    job_store,
    message_of,
    metadata_of,
    put_progress,
)
from tests.local_cluster import shared_ray
from tests.places import ROOT

LINES = [
    {"update": n, "stage": "editor", "reward_mean": 0.25 * n, "actor_version": 0, "seconds": {"learn": 2.0}}
    for n in range(3)
]


def status(**more: object) -> RunStatus:
    made = status_of("run-x", LINES, None, {}, 8)
    return made.model_copy(update={"state": "running", "phase": "sync", "seconds_left": 65.0, **more})


class MemoryStore:
    """Jobs by name; fails as often as it is told to."""

    def __init__(self, state: JobStatus = JobStatus.RUNNING, failures: int = 0, seconds: float = 0.0) -> None:
        self.jobs = {"job-1": JobInfo(status=state, entrypoint="x", metadata={"rlrig_out": "s3://b/run-x"})}
        self.failures, self.seconds = failures, seconds

    async def get_info(self, job_id: str, timeout: int) -> JobInfo | None:
        await asyncio.sleep(self.seconds)
        if self.failures:
            self.failures -= 1
            raise ConnectionError("the head is gone")
        return self.jobs.get(job_id)

    async def put_info(self, job_id: str, job_info: JobInfo, overwrite: bool, timeout: int) -> bool:
        self.jobs[job_id] = job_info
        return True


def test_a_job_keeps_its_own_metadata_and_gets_lines_for_people_and_the_whole_status() -> None:
    store = MemoryStore()
    asyncio.run(put_progress(store, "job-1", status(), "/results/run-x", 5))
    info = store.jobs["job-1"]
    assert info.status == JobStatus.RUNNING
    assert info.message == "running: update 3 of 8, sync, reward 0.500, left 1:05"
    assert info.metadata["rlrig_out"] == "s3://b/run-x"
    assert info.metadata["rlrig_update"] == "3 of 8"
    assert (info.metadata["rlrig_reward"], info.metadata["rlrig_seconds_per_update"]) == ("0.500", "2.0")
    assert info.metadata[FOLDER_KEY] == "/results/run-x"
    assert RunStatus.model_validate_json(info.metadata[STATUS_KEY]).reward.values == [0.0, 0.25, 0.5]
    assert all(isinstance(value, str) for value in info.metadata.values())


def test_before_the_first_update_only_what_is_known_is_said() -> None:
    made = status_of("run-x", [], None, {}, 8).model_copy(update={"state": "failed", "error": "no GPU is left"})
    assert message_of(made) == "failed: update 0 of 8: no GPU is left"
    assert metadata_of(made, "/f").keys() == {"rlrig_run", "rlrig_state", "rlrig_update", FOLDER_KEY, STATUS_KEY}


@pytest.mark.parametrize("ended", [JobStatus.STOPPED, JobStatus.FAILED, JobStatus.SUCCEEDED])
def test_a_job_that_has_ended_is_left_as_it_is(ended: JobStatus) -> None:
    store = MemoryStore(ended)
    before = store.jobs["job-1"]
    asyncio.run(put_progress(store, "job-1", status(), "/f", 5))
    assert store.jobs["job-1"] is before


def test_the_last_status_is_told_before_it_is_left_and_none_on_the_way_holds_the_run_up() -> None:
    store, notes = MemoryStore(seconds=0.05), []
    with JobProgress("job-1", lambda: store, "/f", notes.append, every_s=0.5) as told:
        began = time.monotonic()
        for number in range(200):
            told.tell(status(updates=number))
        assert time.monotonic() - began < 5.0  # the store takes 10 s for as many
        told.tell(status(state="finished", phase=None, updates=8))
    assert store.jobs["job-1"].message.startswith("finished: update 8 of 8")
    assert (notes, told.failures) == ([], 0)


def test_a_head_that_fails_is_said_once_counted_and_tried_again() -> None:
    store, notes = MemoryStore(failures=2), []
    with JobProgress("job-1", lambda: store, "/f", notes.append, every_s=0.0) as told:
        ends = time.monotonic() + 20.0
        for number in range(3):
            told.tell(status(updates=number))
            while told.failures < min(number + 1, 2) and time.monotonic() < ends:
                time.sleep(0.01)
    assert told.failures == 2
    assert store.jobs["job-1"].message.startswith("running: update 2 of 8")
    assert notes == [
        "job job-1: its progress could not be told, the run goes on: the head is gone",
        "job job-1: its progress could not be told 2 times",
    ]


def test_a_head_that_does_not_answer_is_given_up_at_the_deadline() -> None:
    notes: list[str] = []
    with JobProgress("job-1", lambda: MemoryStore(seconds=60.0), "/f", notes.append, deadline_s=1) as told:
        began = time.monotonic()
        told.tell(status())
    assert time.monotonic() - began < 10.0
    assert told.failures == 1
    assert "could not be told, the run goes on: TimeoutError" in notes[0]


def test_an_unknown_job_is_a_failure_that_is_said() -> None:
    with pytest.raises(LookupError, match="the cluster knows no job job-2"):
        asyncio.run(put_progress(MemoryStore(), "job-2", status(), "/f", 5))


class Clerk(Replica):
    """An actor with a role."""

    def __init__(self, replica: str) -> None:
        self.replica = replica


@pytest.mark.engines
def test_ray_s_own_store_keeps_the_progress_and_knows_actors_by_their_roles() -> None:
    import ray
    from ray._private.state import state
    from ray.core.generated.gcs_pb2 import ActorTableData

    with shared_ray():
        address = ray.get_runtime_context().gcs_address
        store, notes = job_store(address), []
        submitted = JobInfo(status=JobStatus.RUNNING, entrypoint="x", metadata={"rlrig_out": "o"}, driver_node_id="n")
        asyncio.run(store.put_info("job-1", submitted, overwrite=True, timeout=60))
        with JobProgress("job-1", lambda: job_store(address), "/f", notes.append, deadline_s=60) as told:
            for number in range(3):
                told.tell(status(updates=number))
            told.tell(status(state="finished", phase=None, updates=8))
        kept = asyncio.run(store.get_info("job-1", timeout=60))
        assert notes == []
        assert (kept.status, kept.entrypoint, kept.driver_node_id) == (JobStatus.RUNNING, "x", "n")
        assert kept.message.startswith("finished: update 8 of 8")
        assert kept.metadata["rlrig_out"] == "o"
        assert RunStatus.model_validate_json(kept.metadata[STATUS_KEY]).updates == 8

        asyncio.run(store.put_info("job-1", replace(kept, status=JobStatus.STOPPED), overwrite=True, timeout=60))
        asyncio.run(put_progress(store, "job-1", status(), "/f", 60))
        assert asyncio.run(store.get_info("job-1", timeout=60)).message == kept.message

        names = {"Diffuser-0", "Diffuser-1"}
        replicas = [ray.remote(Clerk).options(num_cpus=0).remote(name) for name in (*names, "Diffuser-0")]
        ray.get([replica.site.remote() for replica in replicas], timeout=300)  # two of the same role, as two runs have

        accessor = state._connect_and_get_accessor()
        rows = [ActorTableData.FromString(row) for row in accessor.get_actor_table(None, None)]
        alive = [row.repr_name for row in rows if row.state == ActorTableData.ALIVE and row.repr_name in names]
        assert sorted(alive) == ["Diffuser-0", "Diffuser-0", "Diffuser-1"]


STARTED_S = 600.0  # a dashboard, its agent and a job need minutes on a busy machine
ENTRYPOINT = """
import sys, time
from pathlib import Path
import ray
from rlrig.cluster.job_progress import progress_of_this_job
from rollout.progress import Progress
from rlrig.run_folder import RunFolder
from rlrig.run_watch import RunWatch

from actors.replica import Replica


class Diffuser(Replica):
    def __init__(self, replica):
        self.replica = replica


folder = RunFolder(Path(sys.argv[1]))
progress = Progress()
progress.start("run-x", [("actor", 2)], 0)
with RunWatch(folder, progress, 0, {}) as watch:
    ray.init(address="auto")
    replicas = [ray.remote(Diffuser).options(num_cpus=0).remote(f"Diffuser-{k}") for k in (0, 1)]
    ray.get([replica.site.remote() for replica in replicas], timeout=300)
    watch.inform(progress_of_this_job(ray.get_runtime_context().gcs_address, folder.path, print))
    progress.update({"update": 0, "stage": "actor", "reward_mean": 0.5, "seconds": {"learn": 1.0}})
    with progress.phase("learn"):
        ends = time.monotonic() + 600
        while not (folder.path / "go on").exists() and time.monotonic() < ends:
            time.sleep(0.2)
    ray.shutdown()
    progress.update({"update": 1, "stage": "actor", "reward_mean": 0.75, "seconds": {"learn": 1.0}})
"""


@pytest.mark.engines
def test_a_real_job_shows_its_progress_and_its_actors_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import ray
    from ray.util.state import list_actors
    from typer.testing import CliRunner

    from rlrig.cli import app
    from rlrig.cluster.submission import connect

    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "run-x"
    folder.mkdir()
    script = tmp_path / "entry.py"
    script.write_text(ENTRYPOINT)
    context = ray.init(address="local", num_cpus=2, include_dashboard=True, object_store_memory=2**28)
    try:
        address = f"http://{context.dashboard_url}"
        client = connect(address)
        command = f"PYTHONPATH={ROOT} OMP_NUM_THREADS=1 {sys.executable} {script} {folder}"
        ends = time.monotonic() + STARTED_S
        while True:
            try:
                job = client.submit_job(entrypoint=command, metadata={"rlrig_out": str(folder)})
                break
            except RuntimeError as error:
                if "No available agent" not in str(error):
                    raise
                assert time.monotonic() < ends, "no agent took the job"
                time.sleep(1.0)

        def shown() -> dict:
            result = CliRunner().invoke(app, ["status", "--address", address, "--json"])
            assert result.exit_code == 0, result.output
            (only,) = json.loads(result.stdout.splitlines()[-1])["jobs"]
            assert only["job"] == job
            return only

        while (seen := shown())["run"] is None or seen["run"]["phase"] != "learn" or seen["run"]["updates"] != 1:
            assert seen["job_status"] in ("PENDING", "RUNNING"), client.get_job_logs(job)
            assert time.monotonic() < ends, f"the job's progress was not seen: {seen}"
            time.sleep(0.5)
        assert (seen["source"], seen["run"]["state"], seen["run"]["reward"]["values"]) == ("job", "running", [0.5])
        assert seen["message"].startswith("running: update 1 of 2, learn, reward 0.500")
        assert client.get_job_info(job).metadata["rlrig_update"] == "1 of 2"
        # With an address, for Ray would take any that it finds on the machine, such as one of a test before that ends.
        alive = list_actors(address, detail=True, filters=[("state", "=", "ALIVE")])
        names = {actor.repr_name for actor in alive}
        assert {"Diffuser-0", "Diffuser-1"} <= names

        (folder / "go on").touch()
        while (seen := shown())["job_status"] != "SUCCEEDED":
            assert seen["job_status"] in ("PENDING", "RUNNING"), client.get_job_logs(job)
            assert time.monotonic() < ends, f"the job did not end: {seen}"
            time.sleep(0.5)
        assert (seen["run"]["state"], seen["run"]["updates"]) == ("finished", 2)
        assert seen["run"]["reward"]["values"] == [0.5, 0.75]
    finally:
        ray.shutdown()
