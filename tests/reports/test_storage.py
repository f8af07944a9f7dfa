"""A mirror in a local folder, and in an S3 server over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import boto3
import pytest
from moto.server import ThreadedMotoServer

from presets.errors import BadInput, RunFailed
from reports.storage import Mirror
from weights.inventory import INVENTORY, damage, write_inventory


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """An S3 server with the bucket `bucket`; its address."""
    environment = pytest.MonkeyPatch()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        environment.setenv(name, "testing")
    environment.setenv("AWS_EC2_METADATA_DISABLED", "true")
    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    boto3.client("s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1").create_bucket(Bucket="bucket")
    yield f"{host}:{port}"
    running.stop()
    environment.undo()


@pytest.fixture(params=["file", "s3", "fsspec"])
def uri(request: pytest.FixtureRequest, tmp_path: Path, server: str) -> str:
    name = f"runs/{uuid4().hex[:8]}/tiny"
    return {
        "file": f"file://{tmp_path}/store/{name}",
        "s3": f"s3://bucket/{name}?endpoint_override={server}&scheme=http&region=us-east-1",
        "fsspec": f"memory://{name}",
    }[request.param]


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def run_in(folder: Path, update: int) -> Path:
    """A run's folder with one checkpoint, that of `update`."""
    checkpoint = folder / "checkpoints" / f"{update:05}"
    checkpoint.mkdir(parents=True)
    (checkpoint / "weights.bin").write_bytes(bytes(range(256)) * 50_000)
    write_inventory(checkpoint)
    (folder / "config.yaml").write_text("seed: 1\n")
    (folder / "metrics.jsonl").write_text('{"update": 0}\n' * update)
    return folder


def test_what_is_pushed_comes_back_and_only_changes_travel(uri: str, tmp_path: Path) -> None:
    folder, mirror = run_in(tmp_path / "run", 1), Mirror(uri)
    assert mirror.name == "tiny"
    assert not mirror.exists()
    assert mirror.push(folder) == 4
    assert mirror.exists()
    assert mirror.push(folder) == 0
    (folder / "metrics.jsonl").write_text("longer\n" * 9)
    assert mirror.push(folder) == 1
    again = Mirror(uri)
    again.pull(tmp_path / "pulled")
    assert files_of(tmp_path / "pulled") == files_of(folder)
    assert again.push(tmp_path / "pulled") == 0


def test_parts_of_a_run_come_without_the_rest(uri: str, tmp_path: Path) -> None:
    folder = run_in(tmp_path / "run", 1)
    (folder / "held_out").mkdir()
    (folder / "held_out" / "before.parquet").write_bytes(b"scores")
    Mirror(uri).push(folder)
    Mirror(uri).pull_parts(tmp_path / "parts", ["config.yaml", "held_out", "summary.json"])
    assert files_of(tmp_path / "parts") == {"config.yaml": b"seed: 1\n", "held_out/before.parquet": b"scores"}
    with pytest.raises(BadInput, match=r"^RUN .*: holds none of summary\.json; give the folder of a run"):
        Mirror(uri, option="RUN").pull_parts(tmp_path / "none", ["summary.json"])


def test_checkpoints_that_are_pruned_are_pruned_there_too(uri: str, tmp_path: Path) -> None:
    folder, mirror = run_in(tmp_path / "run", 1), Mirror(uri)
    mirror.push(folder)
    (folder / "checkpoints" / "00001").rename(folder / "checkpoints" / "00002")
    mirror.push(folder)
    Mirror(uri).pull(tmp_path / "pulled")
    assert [path.name for path in (tmp_path / "pulled" / "checkpoints").iterdir()] == ["00002"]
    assert damage(tmp_path / "pulled" / "checkpoints" / "00002") is None


def test_a_checkpoint_whose_push_was_cut_off_is_known_to_be_damaged(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = run_in(tmp_path / "run", 1)
    mirror = Mirror(f"s3://bucket/cut/tiny?endpoint_override={server}&scheme=http&region=us-east-1")
    opened: list[str] = []
    real = mirror._files.open_output_stream

    class Cut:
        """The storage goes away before the last file."""

        def __getattr__(self, name: str) -> object:
            return getattr(files, name)

        def open_output_stream(self, path: str) -> object:
            opened.append(path)
            if path.endswith(INVENTORY):
                raise OSError("connection reset")
            return real(path)

    files = mirror._files
    monkeypatch.setattr(mirror, "_files", Cut())
    with pytest.raises(RunFailed, match=r"s3://bucket/cut/tiny.* could not be written: connection reset"):
        mirror.push(folder)
    assert opened[-1].endswith(INVENTORY)
    monkeypatch.undo()
    other = Mirror(mirror.uri)
    other.pull(tmp_path / "pulled")
    assert damage(tmp_path / "pulled" / "checkpoints" / "00001") == f"{INVENTORY} is missing"
    assert mirror.push(folder) == 1  # goes on where it was cut off


def test_bad_places_are_refused_by_name(server: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"--out nowhere://x/y: neither pyarrow nor fsspec knows it"):
        Mirror("nowhere://x/y")
    empty = Mirror(f"s3://bucket/empty/run?endpoint_override={server}&scheme=http&region=us-east-1")
    with pytest.raises(BadInput, match=r"holds no run; start one without --resume"):
        empty.pull(tmp_path / "pulled")
    missing = Mirror(f"s3://no-such-bucket/run?endpoint_override={server}&scheme=http&region=us-east-1")
    with pytest.raises(RunFailed, match=r"no-such-bucket/run.* could not be written"):
        missing.push(run_in(tmp_path / "run", 1))
