"""Measures what is missing, chooses, tests, and writes the page."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.frontier.choosing import Choices, choose
from experiments.frontier.costs import Costs, measure_costs
from experiments.frontier.ledger import Ledger
from experiments.frontier.page import write_page
from experiments.frontier.prompts import BATCH, SETS, TEST, VALIDATION, graphs_of, seed_of
from experiments.frontier.rows import Rows
from experiments.frontier.sources import note_sources, read_sources
from experiments.frontier.systems import SYSTEMS, settings_of
from presets.errors import BadInput
from scenes.whole_file import whole_file

if TYPE_CHECKING:
    from experiments.frontier.measuring import Measuring, Wanted
    from experiments.frontier.playing import Cast


@dataclass(frozen=True)
class Frontier:
    """What lies in the folder of rows: traces, seconds of calls, choices and the ledger."""

    folder: Path
    say: Callable[[str], None]

    def measure(self, cast: Cast, sources: Mapping[str, str], validation: int, test: int) -> None:
        """Seconds of calls where they are missing; the validation prompts; choices; the test of what was chosen.

        Args:
            sources: digests of the weights that `cast` holds.
            validation, test: prompts of each set; 0 leaves the phase out. Without a test nothing is chosen.

        Raises:
            BadInput: rows were made with other weights.
        """
        from experiments.frontier.measuring import Measuring, playable

        note_sources(self.folder / "models.json", sources)
        rows, ledger = Rows(self.folder), Ledger(self.folder / "ledger.json")
        costs = self._costs(cast)
        measuring = Measuring(cast, rows, self.say)
        able = [system for system in SYSTEMS if playable(system, cast)]
        if validation:
            everything = [(system, one) for system in able for one in settings_of(system)]
            self._phase(measuring, ledger, VALIDATION, validation, dict.fromkeys(SETS, everything))
        if test:
            choices = choose(rows, costs, Choices.read(self._choices))
            choices.write(self._choices)
            names = {system.name for system in able}
            chosen = {
                prompts: [(system, one) for system, one in choices.settings(prompts) if system.name in names]
                for prompts in SETS
            }
            self._phase(measuring, ledger, TEST, test, chosen)

    def write(self, docs: Path) -> Path:
        """The page and its plot, from what is there.

        Raises:
            BadInput: no seconds of calls are there.
        """
        costs = self._kept_costs()
        if costs is None:
            raise BadInput(f"--rows {self.folder}: holds no costs.json; measure first, without --no-measure")
        rows, ledger = Rows(self.folder), Ledger(self.folder / "ledger.json")
        sources = read_sources(self.folder / "models.json")
        return write_page(rows, costs, Choices.read(self._choices), ledger, sources, docs)

    @property
    def _choices(self) -> Path:
        return self.folder / "choices.json"

    def _phase(self, measuring: Measuring, ledger: Ledger, phase: str, count: int, wanted: Wanted) -> None:
        pairs = {prompts: list(some) for prompts, some in wanted.items()}
        for prompts, some in pairs.items():
            if some:
                ledger.note(phase, prompts, seed_of(phase, prompts), count, some)
        measuring.measure(phase, count, pairs)

    def _costs(self, cast: Cast) -> Costs:
        """The least of all measurements so far; after a choice no more are made, because the choice depends on them."""
        kept = self._kept_costs()
        if kept is not None and self._choices.is_file():
            return kept
        self.say("seconds of calls")
        found = measure_costs(cast, graphs_of(VALIDATION, "three", BATCH))
        found = found if kept is None else found.least(kept)
        self.folder.mkdir(parents=True, exist_ok=True)
        with whole_file(self.folder / "costs.json") as part:
            part.write_text(json.dumps(asdict(found), indent=1) + "\n", encoding="utf-8")
        return found

    def _kept_costs(self) -> Costs | None:
        path = self.folder / "costs.json"
        if not path.is_file():
            return None
        values = json.loads(path.read_text(encoding="utf-8"))
        by_steps = {name: {int(steps): seconds for steps, seconds in values[name].items()} for name in ("draw", "edit")}
        return Costs(**by_steps, question=values["question"], answer=values["answer"])
