"""A replica without a model. Alone in its file, so that its processes load nothing else."""

from __future__ import annotations

import os
import time
from pathlib import Path

from actors.replica import Replica


class Clerk(Replica):
    """Answers, takes its time, fails or dies, as it is asked to."""

    def __init__(self, replica: str) -> None:
        self.replica = replica

    def stamp(self, rows: list[int], delay_s: float = 0.0) -> list[tuple[int, str]]:
        time.sleep(delay_s)
        return [(row, self.replica) for row in rows]

    def refuse(self, rows: list[int]) -> list[int]:
        raise ValueError(f"rows {rows}")

    def die(self) -> None:
        os._exit(1)

    def starve(self, rows: list[int], folder: str, processes: int) -> list[int]:
        """The first `processes` that are asked, which leave a file in `folder`, get no memory."""
        (Path(folder) / str(os.getpid())).touch()
        if len(list(Path(folder).iterdir())) <= processes:
            raise RuntimeError("could not create a primitive")
        return rows

    def pid(self) -> int:
        return os.getpid()
