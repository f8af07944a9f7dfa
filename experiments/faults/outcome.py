"""What came of a fault, and the file that it is kept in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal

from experiments.faults.audit import Audit
from experiments.faults.matrix import Cell
from scenes.whole_file import whole_file

WENT_ON: Final = "went on"
RESUMED: Final = "resumed"
LOST: Final = "lost"


@dataclass(frozen=True)
class Result:
    """`outcome`: the run went on by itself, or after `rlrig train --resume`, or was lost.

    Attributes:
        seconds: from the fault to the end of the update that showed that training goes on; None if none did.
        left_over: processes of the run that were there some seconds after it had ended.
        message: what the run told its user when it ended with an error.
        audit: of the whole run, in which other faults may have come before and after; None where it was lost.
    """

    cell: Cell
    outcome: Literal["went on", "resumed", "lost"]
    seconds: float | None
    left_over: int
    message: str
    audit: Audit | None

    @property
    def sound(self) -> bool:
        return self.audit is not None and self.audit.sound


def keep(results: Sequence[Result], work: Path) -> None:
    """Write the results, a file each."""
    for result in results:
        path = _path(work, result.cell)
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as partial:
            partial.write_text(json.dumps(asdict(result), indent=1), encoding="utf-8")


def kept(cell: Cell, work: Path) -> Result | None:
    """The result that `keep` has written, if it has."""
    path = _path(work, cell)
    if not path.is_file():
        return None
    values = json.loads(path.read_text(encoding="utf-8"))
    found = values.pop("audit")
    return Result(**{**values, "cell": Cell(**values["cell"])}, audit=Audit(**found) if found else None)


def _path(work: Path, cell: Cell) -> Path:
    return work / "cells" / f"{cell.name}.json"
