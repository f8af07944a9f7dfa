"""What the raylet runs to start a worker, in place of Ray's own `setup_worker.py`, with the same arguments.

It asks the fork server for the worker, and ends. Where the server is gone, is late or refuses, it becomes Ray's own
script, so that a worker starts as it always did. It imports little: it is run once for every worker.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from importlib.util import find_spec
from pathlib import Path

SOCKET = "RLRIG_PRELOADED"
"""Environment variable with the path of the fork server's socket."""
FORKED = b"forked"
_DEADLINE_S = 120.0  # the server imports for 15 seconds of computing before it answers the first


def asked(arguments: list[str]) -> dict[str, object]:
    """What the server needs to know: the arguments that the raylet gave, and what a process inherits."""
    umask = os.umask(0)
    os.umask(umask)
    return {
        "arguments": arguments,
        "environment": dict(os.environ),
        "directory": os.getcwd(),
        "umask": umask,
        "nice": os.getpriority(os.PRIO_PROCESS, 0),
        "memory_score": int(Path("/proc/self/oom_score_adj").read_text()),
    }


def forked(path: str, arguments: list[str], deadline_s: float = _DEADLINE_S) -> bool:
    """Whether the server at this socket has forked the worker. False says nothing about why."""
    try:
        return answer(path, asked(arguments), deadline_s)
    except (OSError, ValueError) as error:
        print(f"no worker from {path}: {error!r}; starting one in a new interpreter", file=sys.stderr)
        return False


def answer(path: str, question: dict[str, object], deadline_s: float = _DEADLINE_S) -> bool:
    """Whether the server at this socket forks what is asked for; with `would`, whether it would.

    Raises:
        OSError: nothing answers there in time.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(deadline_s)
        connection.connect(path)
        socket.send_fds(connection, [b"+"], [0, 1, 2])
        connection.sendall(json.dumps(question).encode())
        connection.shutdown(socket.SHUT_WR)
        return connection.recv(len(FORKED)) == FORKED


def _as_ever(arguments: list[str]) -> None:
    spec = find_spec("ray")  # does not import it
    folders = spec.submodule_search_locations if spec else None
    assert folders, "Ray is not installed"
    script = Path(folders[0]) / "_private" / "workers" / "setup_worker.py"
    os.execv(sys.executable, [sys.executable, str(script), *arguments])


if __name__ == "__main__":
    if not forked(os.environ.get(SOCKET, ""), sys.argv[1:]):
        _as_ever(sys.argv[1:])
