"""What a run learned from, beside an undisturbed run of the same configuration."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq


@dataclass(frozen=True)
class Ledger:
    """What each update of a finished run consumed: `prompts[update]` are positions in the run's stream of prompts, and
    `digest` is that of the weights after the last update, by policy."""

    prompts: dict[int, frozenset[int]]
    digest: dict[str, str]


@dataclass(frozen=True)
class Audit:
    """`lost`: prompts that the undisturbed run learned from and this one did not. `twice`: prompts of more than one
    update. `updates`: how many updates more (or less) this run made. `same_weights`: whether both ended alike."""

    lost: int
    twice: int
    updates: int
    same_weights: bool

    @property
    def sound(self) -> bool:
        """Nothing lost, nothing twice, and as many updates."""
        return not (self.lost or self.twice or self.updates)


def read_ledger(run: Path) -> Ledger:
    """The ledger of a run's folder, from its trajectories and metrics.

    Raises:
        FileNotFoundError: the folder holds no metrics.
    """
    prompts = {
        int(file.stem): frozenset(pq.read_table(file, columns=["prompt"])["prompt"].to_pylist())
        for file in sorted((run / "trajectories").glob("*.parquet"))
    }
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return Ledger(prompts, {line["stage"]: line["weights"]["digest"] for line in lines})


def audit(undisturbed: Ledger, run: Ledger) -> Audit:
    """Compare two runs of the same configuration."""
    times = Counter(prompt for prompts in run.prompts.values() for prompt in prompts)
    wanted = frozenset().union(*undisturbed.prompts.values())
    return Audit(
        lost=len(wanted - times.keys()),
        twice=sum(count > 1 for count in times.values()),
        updates=len(run.prompts) - len(undisturbed.prompts),
        same_weights=run.digest == undisturbed.digest,
    )
