from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import ActorDiedError

from rlrig.endpoint.on_ray import ServiceWatch
from rollout.progress import Progress
from studio.episodes.follow import CheckpointGone
from weights.manifest import WeightMismatch


class Followed:
    """A run with one newest checkpoint, and a service that takes what is given; it raises what is in `raises` first."""

    def __init__(self) -> None:
        self.checkpoint: Path | None = None
        self.held: dict[str, int] = {}
        self.put_in: list[tuple[str, int]] = []
        self.raises: list[Exception] = []
        self.states: dict[str, str] = {}

    def newest(self) -> Path | None:
        return self.checkpoint

    def versions(self, checkpoint: Path) -> dict[str, int]:
        return self.held

    def update(self, checkpoint: Path, policy: str) -> Any:
        return SimpleNamespace(policy=policy, manifest=SimpleNamespace(digest="d1", version=self.held[policy]))

    def apply_weights(self, update: Any) -> list[Any]:
        if self.raises:
            raise self.raises.pop(0)
        self.put_in.append((update.policy, update.manifest.version))
        return [SimpleNamespace(replica="one"), SimpleNamespace(replica="two")]

    def trouble(self) -> dict[str, str]:
        return self.states


@pytest.fixture
def run() -> Followed:
    return Followed()


@pytest.fixture
def watch(run: Followed) -> ServiceWatch:
    return ServiceWatch(run, run, Progress())


def step_to(run: Followed, watch: ServiceWatch, name: str, **held: int) -> None:
    run.checkpoint, run.held = Path(name), held
    watch.step()


def test_each_new_version_is_put_in_once(run: Followed, watch: ServiceWatch) -> None:
    watch.step()
    assert run.put_in == []
    step_to(run, watch, "00004", actor=4)
    step_to(run, watch, "00004", actor=4)
    step_to(run, watch, "00008", actor=4, editor=4)
    assert run.put_in == [("actor", 4), ("editor", 4)]
    assert watch._progress.notes[0] == "actor version 4, d1: held by one, two"


def test_weights_that_are_refused_are_not_tried_again_but_the_next_ones_are(run: Followed, watch: ServiceWatch) -> None:
    run.raises.append(WeightMismatch("other shapes"))
    step_to(run, watch, "00004", actor=4)
    watch.step()
    assert run.put_in == []
    assert ["other shapes" in note for note in watch._progress.notes] == [True]
    step_to(run, watch, "00008", actor=8)
    assert run.put_in == [("actor", 8)]


@pytest.mark.parametrize("error", [TimeoutError("episodes did not end"), ActorDiedError(), CheckpointGone("removed")])
def test_what_may_pass_is_tried_again(error: Exception, run: Followed, watch: ServiceWatch) -> None:
    run.raises.append(error)
    step_to(run, watch, "00004", actor=4)
    assert run.put_in == []
    watch.step()
    assert run.put_in == [("actor", 4)]


def test_another_error_ends_it(run: Followed, watch: ServiceWatch) -> None:
    run.raises.append(ZeroDivisionError("a mistake"))
    with pytest.raises(ZeroDivisionError):
        step_to(run, watch, "00004", actor=4)


def test_what_does_not_run_is_said_once(run: Followed, watch: ServiceWatch) -> None:
    run.states = {"editor": "UNHEALTHY"}
    watch.step()
    watch.step()
    run.states = {}
    watch.step()
    assert watch._progress.notes == ["editor: UNHEALTHY", "all parts run"]
