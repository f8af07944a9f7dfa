"""What a round found: written as one JSON file after each part, and shown as tables."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import mean
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.gpu_round.flops import Flops
from benchmarks.gpu_round.sizes import Device, Size
from learner.config import LearnerConfig
from learner.stats import LearnerStats

KONTEXT = "editor of Kontext's size"
_LEAST_IMAGES, _LEAST_MFU, _OFF = 0.50, 0.45, 0.10
_GIB = 2**30


@dataclass
class Updated:
    """An update of a policy.

    Attributes:
        samples: that it learned from.
        seconds: that its rank worked.
        tflop: operations in 10¹², see `benchmarks.gpu_round.flops`.
        mfu: operations a second, as a part of what the card can do; None where that is not known.
        hfu: the same, with layers that are computed again in the backward pass.
        mismatch: mean difference of log-probabilities to the rollout's.
    """

    samples: int
    seconds: float
    tflop: float
    mfu: float | None
    hfu: float | None
    mismatch: float


@dataclass
class Memory:
    """GiB that were held at most, None without a card, and as planned."""

    what: str
    held: float | None
    planned: float

    @property
    def off(self) -> float | None:
        """By how much the plan is off, as a part of what was held."""
        return None if not self.held else (self.planned - self.held) / self.held


@dataclass
class Sync:
    """An adapter on its way: seconds to pack it, seconds until every replica has proven it, and its size."""

    pack_s: float
    apply_s: float
    megabytes: float


@dataclass
class Reach:
    """What is to be reached, what was found, and whether that is enough; None where that cannot be said."""

    what: str
    wanted: str
    found: float | None
    met: bool | None


@dataclass
class Found:
    """See the module.

    Attributes:
        size, device, card, torch: what ran where; `card` is None on a CPU.
        peak_tflops: what the card can do; None where it is not known.
        settings: of the preset that the numbers depend on.
        seconds: by phase; a phase within another counts for itself.
        switches: seconds of every time that a role left its GPU, or came back.
        images_per_second: of the device.
        readable: answers of the Actor that held an edit, of `settings["edits"]`; the others' edits were made up.
        updates, sync: by policy.
        roles: memory of each process.
        phases: memory of the card, caches and contexts included.
        skipped, failed: parts that were not measured, and why.
    """

    size: Size
    device: Device
    card: str | None
    torch: str
    peak_tflops: float | None
    settings: dict[str, Any]
    seconds: dict[str, float] = field(default_factory=dict)
    switches: dict[str, list[float]] = field(default_factory=dict)
    images_per_second: dict[str, float] = field(default_factory=dict)
    readable: int = 0
    updates: dict[str, Updated] = field(default_factory=dict)
    sync: dict[str, Sync] = field(default_factory=dict)
    roles: list[Memory] = field(default_factory=list)
    phases: list[Memory] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def updated(self, name: str, stats: LearnerStats, flops: Flops, learner: LearnerConfig) -> None:
        """Keep an update that took so many operations forward."""
        whole, seconds = learner.lora is None, stats.compute_seconds
        tflop, done = (
            flops.training(whole=whole) / 1e12,
            flops.training(whole=whole, again=learner.gradient_checkpointing),
        )
        can = None if self.peak_tflops is None else self.peak_tflops * seconds
        used, really = (None, None) if can is None else (tflop / can, done / 1e12 / can)
        self.updates[name] = Updated(stats.samples, seconds, tflop, used, really, stats.logprob_mismatch_mean)

    def held(self, what: str, nbytes: int, planned: float) -> None:
        """Keep the bytes that a process held at most, 0 where it did not say, and was planned to."""
        self.roles.append(Memory(what, nbytes / _GIB if self.card and nbytes else None, planned / _GIB))

    @property
    def reach(self) -> list[Reach]:
        """What one H200 is to reach with the real sizes; of others nothing can be said."""
        images = self.images_per_second.get(KONTEXT) if self.card else None
        rows = [_at_least(f"images a second: {KONTEXT}, 5 stochastic steps", _LEAST_IMAGES, images)]
        rows += [_at_least(f"MFU: update, {name}", _LEAST_MFU, it.mfu) for name, it in self.updates.items()]
        rows += [_within(f"plan off: {one.what}", one.off) for one in (*self.roles, *self.phases)]
        return rows if self.size == "real" else [replace(row, met=None) for row in rows]

    def write(self, path: Path) -> None:
        """All of it, what is not known as null."""
        written = {**asdict(self), "reach": [asdict(one) for one in self.reach]}
        path.write_text(json.dumps(written, indent=2, allow_nan=False) + "\n", encoding="utf-8")

    def show(self, console: Console) -> None:
        """The tables, and what is missing in them."""
        for table in (self._speed(), self._learned(), self._memory(), self._reached()):
            console.print(table)
        for text in self.skipped:
            console.print(f"skipped: {text}", style="yellow")
        for text in self.failed:
            console.print(f"failed: {text}", style="red")

    def _speed(self) -> Table:
        table = Table("what", "", title=f"{self.card or 'CPU'}, size {self.size}: the round", title_justify="left")
        for name, seconds in self.seconds.items():
            if name not in self.switches:
                table.add_row(name, f"{seconds:.2f} s")
        for name, each in self.switches.items():
            table.add_row(f"{name}, {len(each)} times", f"{mean(each):.3f} s each")
        for policy, sync in self.sync.items():
            told = f"{sync.pack_s:.2f} s + {sync.apply_s:.2f} s"
            table.add_row(f"adapter of the {policy}, {sync.megabytes:.3g} MB: packed + proven", told)
        for name, images in self.images_per_second.items():
            table.add_row(f"images a second: {name}", f"{images:.3g}")
        return table

    def _learned(self) -> Table:
        table = Table("update", "samples", "seconds", "TFLOP", "MFU", "HFU", "mismatch")
        for name, it in self.updates.items():
            numbers = (f"{it.seconds:.2f}", f"{it.tflop:.3g}", _number(it.mfu), _number(it.hfu), f"{it.mismatch:.2g}")
            table.add_row(name, str(it.samples), *numbers)
        return table

    def _memory(self) -> Table:
        table = Table("peak memory", "held, GiB", "planned, GiB", "plan off")
        for one in (*self.roles, *self.phases):
            table.add_row(one.what, _number(one.held), _number(one.planned), _number(one.off))
        return table

    def _reached(self) -> Table:
        table = Table("to reach", "wanted", "found", "")
        words = {True: "met", False: "not met", None: "-"}
        for one in self.reach:
            table.add_row(one.what, one.wanted, _number(one.found), words[one.met])
        return table


def _at_least(what: str, least: float, found: float | None) -> Reach:
    return Reach(what, f"at least {least:g}", found, None if found is None else found >= least)


def _within(what: str, off: float | None) -> Reach:
    return Reach(what, f"within {_OFF:g}", off, None if off is None else abs(off) <= _OFF)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
