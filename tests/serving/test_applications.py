from __future__ import annotations

import time
from types import SimpleNamespace

import pytest
from ray.serve.schema import ApplicationStatus

from serving import applications, serve_controller
from serving.applications import StartFailed, wait_for_applications

RUNNING, DEPLOYING, FAILED = (
    ApplicationStatus.RUNNING,
    ApplicationStatus.DEPLOYING,
    ApplicationStatus.DEPLOY_FAILED,
)


class Status:
    """What Serve says of its applications: one answer after another, the last one again and again."""

    def __init__(self, *answers: dict[str, ApplicationStatus], message: str = "", takes_s: float = 0.0) -> None:
        self.answers, self.message, self.takes_s = list(answers), message, takes_s
        self.asked = 0

    def __call__(self) -> SimpleNamespace:
        time.sleep(self.takes_s)
        answer = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        return SimpleNamespace(
            applications={
                name: SimpleNamespace(status=status, message=self.message, deployments={})
                for name, status in answer.items()
            }
        )


def use(monkeypatch: pytest.MonkeyPatch, status: Status) -> Status:
    monkeypatch.setattr(serve_controller.serve, "status", status)
    monkeypatch.setattr(applications, "_POLL_S", 0.001)
    return status


def test_each_application_is_told_once_when_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    status = use(
        monkeypatch,
        Status({}, {"actor": RUNNING, "checker": DEPLOYING, "other": FAILED}, {"actor": RUNNING, "checker": RUNNING}),
    )
    wait_for_applications(["actor", "checker"], 10.0, progress=told.append)
    assert (told, status.asked) == (["actor", "checker"], 3)


def test_one_that_fails_ends_the_wait_with_its_last_error(monkeypatch: pytest.MonkeyPatch) -> None:
    message = "Traceback\nValueError: first\nthe retry:\nRuntimeError: no room\nfor the cache"
    use(monkeypatch, Status({"actor": DEPLOYING}, {"actor": FAILED}, message=message))
    with pytest.raises(StartFailed, match="actor failed to start: RuntimeError: no room for the cache") as caught:
        wait_for_applications(["actor"], 10.0)
    assert caught.value.name == "actor"


def test_a_deadline_names_what_does_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, Status({"actor": RUNNING, "checker": DEPLOYING}))
    with pytest.raises(TimeoutError, match=r"checker, editor were not ready within 0.05 s .*'editor': 'not deployed'"):
        wait_for_applications(["actor", "checker", "editor"], 0.05)


def test_asking_takes_a_tenth_of_the_time_and_the_deadline_holds_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    status = use(monkeypatch, Status({"actor": DEPLOYING}, takes_s=0.02))
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        wait_for_applications(["actor"], 0.5)
    assert 2 <= status.asked <= 4  # at 0, 0.2, 0.4 and 0.5 s where nothing else runs
    assert 0.5 < time.monotonic() - began < 5
