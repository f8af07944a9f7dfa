"""What a run says of itself while it goes on: `progress.json` in its folder, and the same to its job in a cluster."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

import psutil

from reports.status.reader import LOG, PROGRESS, metrics_lines, status_of
from reports.status.status import LiveRecord, RunStatus
from scenes.harmless_text import harmless
from scenes.whole_file import whole_file

if TYPE_CHECKING:
    from rlrig.run_folder import RunFolder
    from rollout.progress import Progress


class Listener(Protocol):
    """Whoever wants to know how the run goes, such as `job_progress.JobProgress`."""

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None: ...

    def tell(self, status: RunStatus) -> None:
        """The status has changed; this must not take long."""


class RunWatch:
    """Writes `progress.json` whenever the phase changes, and what was said meanwhile to `log.txt`; says how the run
    ended when it is left.

    Args:
        folder: of the run; it exists.
        progress: whose phases and updates these are.
        done: updates that an earlier process did.
        failures: by logger, how often it failed; read at each writing.

    """

    def __init__(
        self,
        folder: RunFolder,
        progress: Progress,
        done: int,
        failures: Mapping[str, int],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._folder, self._progress, self._failures, self._clock = folder, progress, failures, clock
        written = folder.metrics.read_text(encoding="utf-8") if folder.metrics.is_file() else ""
        self._before = [line for line in metrics_lines(written, []) if line["update"] < done]
        self._done = done
        self._started = self._since = clock()
        self._phase: str | None = None
        self._state: Literal["running", "finished", "failed", "interrupted"] = "running"
        self._error: str | None = None
        self._unwritten = self._logged = 0
        self._at_end = ExitStack()
        self._listeners: list[Listener] = []

    def __enter__(self) -> Self:
        self._progress.watchers.append(self._on_phase)
        self._log([f"started, {self._done} of {self._progress.total} updates are done"])
        self._write()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._progress.watchers.remove(self._on_phase)
        if isinstance(error, KeyboardInterrupt):
            self._state = "interrupted"
        elif error is not None:
            lines = str(error).strip().splitlines()
            self._state, self._error = "failed", lines[0] if lines else type(error).__name__
        else:
            self._state = "finished"
        with self._at_end:
            self._write()
            self._log([f"{self._state}: {self._error}" if self._error else self._state])

    def inform(self, listener: Listener | None) -> None:
        """From now on tell this as well, to the end; it is entered here, and left when all is told."""
        if listener is not None:
            self._listeners.append(self._at_end.enter_context(listener))
            self._write()

    def finished(self) -> None:
        """All that the run was asked for is done, though its files may still have to be copied."""
        self._state = "finished"
        self._write()

    @property
    def record(self) -> LiveRecord:
        """What is written."""
        process = psutil.Process()
        return LiveRecord(
            run=self._progress.run_name,
            state=self._state,
            error=self._error,
            phase=self._phase,
            phase_since=self._since,
            at=self._clock(),
            started=self._started,
            done=self._done + len(self._progress.history),
            total=self._progress.total,
            seconds_left=self._progress.seconds_left(),
            host=socket.gethostname(),
            pid=os.getpid(),
            pid_started=process.create_time(),
            logger_failures=dict(self._failures),
        )

    def _on_phase(self, name: str | None) -> None:
        self._phase, self._since = name, self._clock()
        self._write()

    def _write(self) -> None:
        record = self.record
        try:
            with whole_file(self._folder.path / PROGRESS) as partial:
                partial.write_text(record.model_dump_json(indent=2), encoding="utf-8")
        except OSError as error:
            self._unwritten += 1
            if self._unwritten == 1:
                self._progress.note(f"{PROGRESS} could not be written, the run goes on: {error}")
        notes = self._progress.notes[self._logged :]
        self._logged += len(notes)
        self._log(notes)
        if self._listeners:
            lines: list[Mapping[str, Any]] = [*self._before, *self._progress.history]
            status = status_of(record.run, lines, record, {}, record.total, alive=True)
            for listener in self._listeners:
                listener.tell(status)

    def _log(self, texts: Sequence[str]) -> None:
        """Add lines with the time to the log; of a folder that cannot be written to, `_write` has told."""
        when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(self._clock()))
        with suppress(OSError), (self._folder.path / LOG).open("a", encoding="utf-8") as file:
            file.writelines(f"{when}  {harmless(' '.join(text.split()))}\n" for text in texts)


def process_exists(record: LiveRecord) -> bool | None:
    """Whether the process that wrote a record still exists; None where it ran on another machine."""
    if record.host != socket.gethostname():
        return None
    try:
        process = psutil.Process(record.pid)
        same = abs(process.create_time() - record.pid_started) < 1.0
        return bool(same and process.status() != psutil.STATUS_ZOMBIE)
    except (psutil.NoSuchProcess, ValueError, OverflowError):  # also of a number that no process can have
        return False
    except psutil.AccessDenied:
        return None
