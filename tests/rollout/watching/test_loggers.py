"""What loggers write is read back with the readers of their own formats."""

from __future__ import annotations

import struct
import threading
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
from PIL import Image
from ray.tune.logger import LoggerCallback, TBXLoggerCallback
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.record_writer import masked_crc32c

from presets.errors import BadInput, RunFailed
from presets.run_file import load_config
from rollout.watching.loggers import LOGGER_PACKAGES, RunLoggers, check_loggers, new_callbacks

CONFIG = {"seed": 3, "stages": [{"stage": "actor", "updates": 2}], "rollout": {"turns": 2}}


def update(number: int) -> dict:
    return {
        "update": number,
        "stage": "actor",
        "reward_mean": 0.25 * number,
        "truth_mean": None,
        "rejected": {"the image is black": number},
        "seconds": {"learn": 1.5, "sync": 0.5},
        "weights": {"digest": "1e5"},
    }


def scalars(folder: Path) -> dict[tuple[str, int], float]:
    """Value by tag and step of every event file in a folder; a record with a wrong checksum is an error."""
    found = {}
    for file in sorted(folder.glob("events.out.tfevents.*")):
        content, position = file.read_bytes(), 0
        while position < len(content):
            header = content[position : position + 8]
            (length,) = struct.unpack("<Q", header)
            body = content[position + 12 : position + 12 + length]
            checks = struct.unpack("<I", content[position + 8 : position + 12]) + struct.unpack(
                "<I", content[position + 12 + length : position + 16 + length]
            )
            assert checks == (masked_crc32c(header), masked_crc32c(body))
            event = Event.FromString(body)
            for value in event.summary.value:
                found[value.tag, event.step] = value.simple_value
            position += 16 + length
    return found


def wandb_records(file: Path) -> list[bytes]:
    """The records of a W&B file: LevelDB's log format after seven bytes, whose blocks of 32 KiB split long records."""
    content, position, whole, records = file.read_bytes(), 7, b"", []
    assert content[:4] == b":W&B"
    while position < len(content):
        if (room := 32768 - position % 32768) < 7:  # no header fits: the block is filled up
            position += room
            continue
        _, length, kind = struct.unpack("<IHB", content[position : position + 7])
        whole += content[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # full, or last
            records.append(whole)
            whole = b""
    return records


def picture_file(file: Path, value: int) -> Path:
    """A grey PNG of 12×10 pixels."""
    Image.new("RGB", (12, 10), (value, value, value)).save(file)
    return file


def test_tensorboard_holds_every_number_at_its_update_and_goes_on_after_a_resume(tmp_path: Path) -> None:
    notes: list[str] = []
    for numbers in ((0, 1), (2,)):
        callbacks = new_callbacks(["tensorboard"], tmp_path, "run")
        with RunLoggers(callbacks, tmp_path, "run", CONFIG, notes.append) as loggers:
            if 0 in numbers:
                loggers.log_evaluation(0, {"sg_iou": 0.5, "by_relation": {"left of": 0.75}})
            for number in numbers:
                loggers.log_update(update(number))
        time.sleep(1.1)  # the name of an event file holds the second at which it began
    found = scalars(tmp_path / "tensorboard")
    assert [found["ray/tune/reward_mean", step] for step in range(3)] == [0.0, 0.25, 0.5]
    assert [found["ray/tune/rejected/the_image_is_black", step] for step in range(3)] == [0.0, 1.0, 2.0]
    assert found["ray/tune/seconds/learn", 2] == 1.5
    assert found["ray/tune/evaluation/sg_iou", 0] == 0.5
    assert found["ray/tune/evaluation/by_relation/left_of", 0] == 0.75
    assert {tag for tag, _ in found if "truth" in tag or "digest" in tag or "stage" in tag} == set()
    assert (notes, loggers.failures) == ([], {})


class Broken(LoggerCallback):
    """Fails at what it is told to; remembers what it was asked."""

    def __init__(self, *fails_at: str) -> None:
        self.fails_at, self.asked = fails_at, []

    def _do(self, what: str) -> None:
        self.asked.append(what)
        if what in self.fails_at:
            raise OSError(f"no space left for {what}")

    def setup(self, *_: object, **__: object) -> None:
        self._do("setup")

    def log_trial_result(self, iteration: int, trial: object, result: dict) -> None:
        self._do(f"step {iteration}")

    def log_trial_end(self, trial: object, failed: bool = False) -> None:
        self._do("failed" if failed else "end")


def test_a_logger_that_fails_is_said_once_and_counted_and_the_others_go_on(tmp_path: Path) -> None:
    notes: list[str] = []
    broken = Broken("step 0", "step 2", "end")
    callbacks = {"broken": broken, "tensorboard": TBXLoggerCallback()}
    with RunLoggers(callbacks, tmp_path, "run", CONFIG, notes.append) as loggers:
        for number in range(3):
            loggers.log_update(update(number))
    assert broken.asked == ["setup", "step 0", "step 1", "step 2", "end"]
    assert loggers.failures == {"broken": 3}
    assert notes == [
        "logger broken failed at step 0, the run goes on: OSError: no space left for step 0",
        "logger broken failed 3 times; what it holds is not whole, metrics.jsonl is",
    ]
    found = scalars(tmp_path / "tensorboard")
    assert [found["ray/tune/reward_mean", step] for step in range(3)] == [0.0, 0.25, 0.5]


def test_a_logger_that_did_not_start_is_started_again_with_the_next_record(tmp_path: Path) -> None:
    notes: list[str] = []
    broken = Broken("setup")
    with RunLoggers({"broken": broken}, tmp_path, "run", CONFIG, notes.append) as loggers:
        loggers.log_update(update(0))
        broken.fails_at = ()
        loggers.log_update(update(1))
    assert broken.asked == ["setup", "setup", "setup", "step 1", "end"]
    assert loggers.failures == {"broken": 2}


def test_a_logger_learns_that_the_run_failed(tmp_path: Path) -> None:
    whole = Broken()

    def fail() -> None:
        with RunLoggers({"whole": whole}, tmp_path, "run", CONFIG, print) as loggers:
            loggers.log_update(update(0))
            raise RunFailed("x")

    with pytest.raises(RunFailed):
        fail()
    assert whole.asked[-1] == "failed"


def test_a_logger_that_hangs_holds_the_run_up_no_longer_than_its_deadline(tmp_path: Path) -> None:
    gate, notes = threading.Event(), []

    class Hanging(LoggerCallback):
        def log_trial_result(self, iteration: int, trial: object, result: dict) -> None:
            gate.wait(60)

    began = time.monotonic()
    with RunLoggers({"hanging": Hanging()}, tmp_path, "run", CONFIG, notes.append, deadline_s=0.1) as loggers:
        for number in range(3):
            loggers.log_update(update(number))
    assert time.monotonic() - began < 10.0
    gate.set()
    assert loggers.failures == {"hanging": 4}  # three records and the end
    assert notes[0] == "logger hanging failed at step 0, the run goes on: no answer within 0.1 s"


@pytest.mark.parametrize("name", ["mlflow", "wandb"])
def test_a_logger_whose_package_is_missing_is_refused_with_the_remedy(name: str) -> None:
    if find_spec(LOGGER_PACKAGES[name]) is not None:
        pytest.skip(f"{name} is installed here")
    with pytest.raises(BadInput, match=f"loggers: '{name}' is refused: .* `pip install {name}`"):
        check_loggers(["tensorboard", name])
    with pytest.raises(BadInput, match=f"pip install {name}"):
        new_callbacks([name], Path("x"), "run")


def test_the_run_file_names_each_logger_once_and_only_those_there_are(run_file: Path) -> None:
    assert load_config(run_file).loggers == []
    assert load_config(run_file, ["loggers=[tensorboard, wandb]"]).loggers == ["tensorboard", "wandb"]
    with pytest.raises(BadInput, match="name each logger once"):
        load_config(run_file, ["loggers=[mlflow, mlflow]"])
    with pytest.raises(BadInput, match="loggers"):
        load_config(run_file, ["loggers=[aim]"])


def test_mlflow_holds_every_number_and_the_run_file(tmp_path: Path) -> None:
    pytest.importorskip("mlflow", reason="mlflow is not installed; pip install mlflow")
    from mlflow.tracking import MlflowClient

    notes: list[str] = []
    callbacks = new_callbacks(["mlflow"], tmp_path, "run-x")
    with RunLoggers(callbacks, tmp_path, "run-x", CONFIG, notes.append) as loggers:
        loggers.log_evaluation(0, {"sg_iou": 0.5})
        for number in range(3):
            loggers.log_update(update(number))
        loggers.log_pictures(3, {"before_after": picture_file(tmp_path / "one.png", 200)})
    assert notes == []
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow' / 'mlflow.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("rlrig").experiment_id])
    history = client.get_metric_history(run.info.run_id, "reward_mean")
    assert [(metric.step, metric.value) for metric in history] == [(0, 0.0), (1, 0.25), (2, 0.5)]
    assert client.get_metric_history(run.info.run_id, "evaluation/sg_iou")[0].value == 0.5
    assert (run.data.params["rollout/turns"], run.info.status) == ("2", "FINISHED")
    shown = [file.path for file in client.list_artifacts(run.info.run_id, "images")]
    (png,) = [path for path in shown if path.endswith(".png")]
    assert "before_after" in png
    assert "step%3" in png.replace("+", "%")  # the name holds key and step
    downloaded = client.download_artifacts(run.info.run_id, png, str(tmp_path))
    with Image.open(downloaded) as image:
        assert image.getpixel((3, 3)) == (200, 200, 200)
    assert (tmp_path / "mlflow" / "artifacts").is_dir()


@pytest.mark.engines
def test_wandb_writes_every_number_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb", reason="wandb is not installed; pip install wandb")
    import json

    from wandb.proto.wandb_internal_pb2 import Record

    from tests.local_cluster import shared_ray  # it loads Ray

    monkeypatch.delenv("WANDB_MODE", raising=False)
    notes: list[str] = []
    callbacks = new_callbacks(["wandb"], tmp_path, "run-x")
    with shared_ray(), RunLoggers(callbacks, tmp_path, "run-x", CONFIG, notes.append) as loggers:
        for number in range(3):
            loggers.log_update(update(number))
        loggers.log_pictures(3, {"before_after": picture_file(tmp_path / "one.png", 200)})
    assert notes == []
    (shown,) = (tmp_path / "wandb").glob("wandb/offline-run-*/files/media/images/gallery/before_after_*.png")
    with Image.open(shown) as image:
        assert image.getpixel((3, 3)) == (200, 200, 200)
    (file,) = (tmp_path / "wandb").glob("wandb/offline-run-*/run-*.wandb")
    rewards = []
    for data in wandb_records(file):
        record = Record.FromString(data)
        if record.WhichOneof("record_type") == "history":
            values = {
                "/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.history.item
            }
            rewards += [(values["training_iteration"], values["reward_mean"])] if "reward_mean" in values else []
    assert rewards == [(0, 0.0), (1, 0.25), (2, 0.5)]
