"""The ledger: how often each set of prompts was used, and for what."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from experiments.frontier.systems import Setting, System
from scenes.whole_file import whole_file


class Ledger:
    """A file with an entry for each different use of a set: its seed, prompts, and the settings by system. A command
    that goes on with a use counts in its entry."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []

    def note(self, phase: str, prompts: str, seed: int, count: int, pairs: Iterable[tuple[System, Setting]]) -> None:
        """Write down that these settings are about to be measured on a set."""
        systems: dict[str, list[str]] = {}
        for system, setting in pairs:
            systems.setdefault(system.name, []).append(setting.words)
        use = {"phase": phase, "prompts": prompts, "seed": seed, "count": count, "systems": systems}
        same = next((one for one in self.entries if use.items() <= one.items()), None)
        if same is None:
            self.entries.append({**use, "commands": 1})
        else:
            same["commands"] += 1
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(self.path) as part:
            part.write_text(json.dumps(self.entries, indent=1) + "\n", encoding="utf-8")

    def uses(self, phase: str, prompts: str) -> int:
        """How often the same system met a set with other settings, at most: 1 where no system met it twice."""
        met: dict[str, set[tuple[str, ...]]] = {}
        for entry in self._of(phase, prompts):
            for name, words in entry["systems"].items():
                met.setdefault(name, set()).add(tuple(words))
        return max(map(len, met.values()), default=0)

    def commands(self, phase: str, prompts: str) -> int:
        """Commands that measured anything on a set."""
        return sum(entry["commands"] for entry in self._of(phase, prompts))

    def _of(self, phase: str, prompts: str) -> list[dict[str, Any]]:
        return [one for one in self.entries if (one["phase"], one["prompts"]) == (phase, prompts)]
