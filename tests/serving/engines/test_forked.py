"""A forked process goes on with what was imported, and holds nothing else of its parent."""

from __future__ import annotations

import os
import signal
import socket
from multiprocessing.connection import wait

import pytest

from serving.engines.forked import Forking

_DEADLINE_S = 20


def _stay(number: int) -> None:
    """Stands where an engine stands: its parent's files are gone, and their numbers are not given to its own."""
    assert os.readlink(f"/proc/self/fd/{number}") == os.devnull
    assert socket.socket().fileno() != number
    signal.pause()


@pytest.fixture
def forked():
    """A process, and the socket of its parent whose other end nobody else holds."""
    ours, theirs = socket.socketpair()
    process = Forking().Process(target=_stay, args=(theirs.fileno(),), name="EngineCore")
    process.start()
    yield process, ours, theirs
    process.kill()
    process.join(_DEADLINE_S)


def test_the_parents_connections_end_with_the_parents_own_copies(forked) -> None:
    process, ours, theirs = forked
    theirs.close()
    ours.settimeout(_DEADLINE_S)
    assert ours.recv(1) == b""
    assert process.is_alive()


def test_its_parent_is_told_of_its_end(forked) -> None:
    process, _, _ = forked
    assert not wait([process.sentinel], timeout=0.2)
    process.kill()
    assert wait([process.sentinel], timeout=_DEADLINE_S) == [process.sentinel]
    process.join(_DEADLINE_S)
    assert process.exitcode == -signal.SIGKILL


def test_an_error_of_its_target_is_its_exit_code() -> None:
    def fail() -> None:
        raise SystemExit(7)

    process = Forking().Process(target=fail)
    process.start()
    process.join(_DEADLINE_S)
    assert process.exitcode == 7


@pytest.mark.parametrize(("end", "broken"), [(lambda: os.kill(os.getpid(), signal.SIGABRT), True), (int, False)])
def test_it_knows_a_crash_from_an_end(end, broken) -> None:
    forking = Forking()
    process = forking.Process(target=end)
    process.start()
    process.join(_DEADLINE_S)
    assert forking.broken is broken


def test_one_that_hangs_is_given_up_like_one_that_crashed() -> None:
    forking = Forking()
    process = forking.Process(target=signal.pause)
    process.start()
    forking.give_up()
    process.join(_DEADLINE_S)
    assert forking.broken
    forking.give_up()  # of one that has ended, nothing is left to end
