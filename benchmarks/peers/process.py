"""A peer in a process of its own, which works only while it is waited for."""

from __future__ import annotations

import os
import sys
import traceback
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from presets.errors import RunFailed
from presets.run_config import RunConfig

_DEADLINE_S = 600.0


class Peer:
    """The process, as the measuring side sees it.

    Args:
        policy: what it trains; the Actor with TRL, the editor with a plain loop.
        updates: that will be asked for at most.
        package: folder of TRL.
        threads: that it computes with.

    Raises:
        RunFailed: here and in every call: it ended, or does not answer.
    """

    def __init__(self, policy: str, config: RunConfig, updates: int, package: Path | None, threads: int) -> None:
        context = get_context("spawn")
        self._ours, theirs = context.Pipe()
        arguments = (theirs, policy, config, updates, package, threads)
        self._process = context.Process(target=_serve, args=arguments, daemon=True)
        self._process.start()
        theirs.close()
        self.ask("begin")

    def ask(self, *question: Any) -> dict[str, float]:
        """Seconds by phase of `update`, or of `draw` with prompts and seeds."""
        try:
            self._ours.send(question)
            if not self._ours.poll(_DEADLINE_S):
                raise RunFailed(f"the peer did not answer {question[0]!r} within {_DEADLINE_S:g} s")
            answer = self._ours.recv()
        except (EOFError, BrokenPipeError) as error:
            raise RunFailed(f"the peer ended while it was asked for {question[0]!r}") from error
        if isinstance(answer, str):
            raise RunFailed(f"the peer failed:\n{answer}")
        return dict(answer)

    def close(self) -> None:
        """End the process."""
        self._ours.close()
        self._process.join(5.0)
        self._process.kill()


def _serve(
    connection: Connection, policy: str, config: RunConfig, updates: int, package: Path | None, threads: int
) -> None:
    try:
        os.environ["OMP_NUM_THREADS"] = str(threads)
        from benchmarks.peers.turns import Turns
        from benchmarks.peers.work import Work  # torch, with the threads of this process

        work = Work(config, threads)
        turns = Turns(connection, work)
        if policy == "actor":
            sys.path.append(str(package))
            from benchmarks.peers.trl_updates import train
        else:
            from benchmarks.peers.plain_updates import train
        train(work, turns, updates)
    except EOFError:
        return
    except BaseException:
        connection.send(traceback.format_exc())
        raise
