"""What tests of several folders share."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

# Before torch and Ray are loaded, here and in what tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"  # a thread that was left behind would start a Ray beside the next one's

from tests.marked_files import has_none
from tests.tutorial import Tutorial, go_through

RUN_FILE = """\
seed: 3
stages:
  - {stage: actor, updates: 2}
  - {stage: editor, updates: 3}
models: {flux: models/flux, checker: models/checker, actor: models/actor}
"""


_STATUS = pytest.StashKey[int]()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Files without a test of this run are not imported, unless they are named on the command line."""
    a_test_file = collection_path.name.startswith("test_") and collection_path.suffix == ".py"
    return True if a_test_file and has_none(collection_path, config.option.markexpr) else None


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a GPU where there is none; torch is loaded for such a test alone."""
    if item.get_closest_marker("gpu") is None:
        return
    import torch

    if not torch.cuda.is_available():
        pytest.skip("there is no GPU")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    session.config.stash[_STATUS] = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave without taking C++ objects apart where Ray was used. Each Ray that this process started has left a thread
    that exports metrics, and one that logs meanwhile, as no agent is there any more, ends the process by a segmentation
    fault after all tests have passed. A command of `rlrig` starts one Ray, without that thread."""
    ray = sys.modules.get("ray")
    if ray is None or _STATUS not in config.stash or hasattr(config, "workerinput"):
        return
    ray.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(config.stash[_STATUS])


@pytest.fixture(scope="session")
def vlm_folder(tmp_path_factory) -> Path:
    from learner.pretraining.vlm_model import build

    return build(tmp_path_factory.mktemp("models") / "vlm")


@pytest.fixture(scope="session")
def flux_folder(tmp_path_factory) -> Path:
    from learner.pretraining.flux_model import build

    return build(tmp_path_factory.mktemp("models") / "flux")


@pytest.fixture(scope="session")
def tutorial(tmp_path_factory: pytest.TempPathFactory) -> Tutorial:
    """The tutorial's steps, done: an episode, and a run of two updates of each policy."""
    return go_through(tmp_path_factory.mktemp("tutorial"))


@pytest.fixture
def run_file(tmp_path: Path) -> Path:
    """A run file beside model folders that hold only their index, which is all that the configuration looks at."""
    for name, index in (("flux", "model_index.json"), ("checker", "config.json"), ("actor", "config.json")):
        folder = tmp_path / "models" / name
        folder.mkdir(parents=True)
        (folder / index).write_text("{}")
    path = tmp_path / "run.yaml"
    path.write_text(RUN_FILE)
    return path
