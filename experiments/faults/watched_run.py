"""A training run in a process of its own, followed through its JSON events, whose parts can be found and hurt."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from experiments.faults.processes import end_all, running, title
from experiments.jobs import RLRIG_TRAIN
from presets.errors import RunFailed

# Each role by the beginning of its processes' titles.
TITLES = {
    "env_runner": "ray::ReflectEditRunner",
    "diffuser": "ray::Diffuser",
    "editor": "ray::InverseDiffuser",
    "actor": "ray::ServeReplica:actor",
    "checker": "ray::ServeReplica:checker",
    "engine": "VLLM::EngineCore",
    "learner": "ray::_RankActor",
    "serve_controller": "ray::ServeController",
}
DRIVER = "driver"
_POLL_S = 0.05
_END_S = 20.0


class WatchedRun:
    """`rlrig train … --json` in a session of its own. What it prints to standard error goes to `log`, as does a line of
    standard output that is no JSON.

    Used as a context manager it leaves no process behind.
    """

    def __init__(self, arguments: Sequence[str], log: Path) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self.log = log
        command = [*RLRIG_TRAIN, *arguments, "--json"]
        with log.open("a", encoding="utf-8") as errors:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True
            )
        self.events: list[tuple[float, dict[str, Any]]] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None, "it is a pipe"
        for line in self.process.stdout:
            try:
                self.events.append((time.monotonic(), json.loads(line)))
            except json.JSONDecodeError:
                with self.log.open("a", encoding="utf-8") as log:
                    log.write(f"standard output: {line}")

    def wait_for(self, wanted: Callable[[dict[str, Any]], bool], what: str, deadline_s: float, since: int = 0) -> int:
        """The position in `events` of the first event from `since` on that is `wanted`.

        Raises:
            RunFailed: the run ended, or `deadline_s` seconds passed, before there was one.
        """
        ends, seen = time.monotonic() + deadline_s, since
        while True:
            running = self.process.poll() is None
            if not running:
                self._reader.join(_END_S)
            while seen < len(self.events):
                if wanted(self.events[seen][1]):
                    return seen
                seen += 1
            if not running:
                raise RunFailed(f"the run ended with exit code {self.process.returncode} before {what}; see {self.log}")
            if time.monotonic() > ends:
                raise RunFailed(f"{what} did not happen within {deadline_s:g} s; see {self.log}")
            time.sleep(_POLL_S)

    def wait(self, deadline_s: float) -> int:
        """The exit code.

        Raises:
            RunFailed: the run has not ended after `deadline_s` seconds.
        """
        try:
            code = self.process.wait(deadline_s)
        except subprocess.TimeoutExpired as error:
            raise RunFailed(f"the run has not ended after {deadline_s:g} s; see {self.log}") from error
        self._reader.join(_END_S)
        return code

    @property
    def message(self) -> str:
        """What the run said when it failed; empty where it did not."""
        return next((event["message"] for _, event in reversed(self.events) if event["event"] == "error"), "")

    def processes(self) -> list[psutil.Process]:
        """Every process of the run's session: the driver, Ray's own and the workers."""
        found = []
        for process in psutil.process_iter():
            try:
                if os.getsid(process.pid) == self.process.pid:
                    found.append(process)
            except (ProcessLookupError, psutil.NoSuchProcess):
                continue
        return running(found)

    def of_role(self, role: str) -> list[psutil.Process]:
        """The processes of a role, those that started first before the others.

        Raises:
            RunFailed: there is none.
        """
        if role == DRIVER:
            return [psutil.Process(self.process.pid)]
        found = [process for process in self.processes() if title(process).startswith(TITLES[role])]
        if not found:
            raise RunFailed(f"no process of the {role} runs; see {self.log}")
        return sorted(found, key=lambda process: process.create_time())

    def kill_all(self) -> None:
        """End every process of the run at once, without a word to any of them."""
        end_all(self.processes)
        self.process.wait(_END_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill_all()
