"""What the trajectories of one update say of each of its prompts: the sums that its means are made of."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from reports.reading.table import DamagedFile, Row
from reports.reading.trajectories import MOST_FILES, read_rows
from reports.reading.values import is_number

NO_SIGNAL, LEFT_ALONE = "all rewards were equal", "fewer than two members were left"
COLUMNS = [
    "prompt",
    "stage",
    "update",
    "group",
    "member",
    "turn",
    "reward_before",
    "reward",
    "dropped",
    "rejected",
    "reflection",
]


@dataclass
class PromptSums:
    """One update: `sums[metric][prompt]` is the sum over a prompt's members and how many they are.

    The metrics are those of `rollout.groups.batches.describe`: their value is the sum of the sums divided by that of
    the counts. `dropped` counts groups that were left out, by reason; `rejected` members, by reason.
    """

    update: int
    stage: str
    sums: dict[str, dict[int, tuple[float, int]]]
    dropped: dict[str, int] = field(default_factory=dict)
    rejected: dict[str, int] = field(default_factory=dict)

    def arrays(self, metric: str) -> tuple[np.ndarray, np.ndarray]:
        """float64 (prompts,) twice: sums and counts, in the order of the prompts' numbers."""
        pairs = [self.sums[metric][prompt] for prompt in sorted(self.sums[metric])]
        return np.array([total for total, _ in pairs], dtype=float), np.array([n for _, n in pairs], dtype=float)


def prompt_sums(rows: Sequence[Row]) -> PromptSums:
    """From the rows of one update, with at least `COLUMNS`; there must be one."""
    collected: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    groups: dict[int, list[Row]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: (row["group"], row["member"], row["turn"])):
        groups[row["group"]].append(row)
        collected["reward_before"][row["prompt"]].append(row["reward_before"])
        collected["unparsable_share"][row["prompt"]].append(float(row["reflection"] is None))
    dropped: Counter[str] = Counter()
    for members in groups.values():
        prompt = members[0]["prompt"]
        finals = {row["member"]: row["reward"] for row in members if row["rejected"] is None}
        if finals:
            collected["reward_mean"][prompt] += finals.values()
            collected["reward_std"][prompt].append(float(np.std(list(finals.values()))))
        if members[0]["dropped"]:
            dropped[NO_SIGNAL if len(finals) > 1 else LEFT_ALONE] += 1
    return PromptSums(
        update=rows[0]["update"],
        stage=rows[0]["stage"],
        sums={
            metric: {prompt: (float(np.sum(values)), len(values)) for prompt, values in by_prompt.items()}
            for metric, by_prompt in collected.items()
        },
        dropped=dict(dropped),
        rejected=dict(Counter(row["rejected"] for row in rows if row["rejected"] is not None)),
    )


def read_prompt_sums(folder: Path) -> tuple[dict[int, PromptSums], list[str]]:
    """By update what the Parquet files of a folder say, and what is wrong with those that cannot be read."""
    found: dict[int, PromptSums] = {}
    faults = []
    for file in sorted(folder.glob("*.parquet"))[:MOST_FILES]:
        try:
            rows, wrong = read_rows(file, COLUMNS)
        except DamagedFile as error:
            faults.append(str(error))
            continue
        faults += wrong
        sound = [row for row in rows if _is_sound(row)]
        if len(sound) < len(rows):
            faults.append(f"trajectories/{file.name}: {len(rows) - len(sound)} rows without a reward are left out")
        if sound:
            found[sound[0]["update"]] = prompt_sums(sound)
    return found, faults


def _is_sound(row: Row) -> bool:
    """Whether its rewards are numbers; that of a rejected member need not be."""
    return is_number(row["reward_before"]) and (is_number(row["reward"]) or row["rejected"] is not None)
