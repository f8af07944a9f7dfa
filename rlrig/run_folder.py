"""The folder that a run leaves: configuration, metrics, trajectories, checkpoints, models, summary, report."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from learner.saving.atomic_directory import atomic_directory, recover
from presets.errors import BadInput
from presets.run_file import dump_config
from presets.yaml_text import parse_yaml
from reports.provenance.starts import STARTS
from reports.provenance.surroundings import surroundings
from rollout.checkpoint import HEAD, OLD_HEAD
from scenes.whole_file import whole_file
from weights.inventory import damage, write_inventory

if TYPE_CHECKING:
    from presets.keep import KeepConfig
    from presets.run_config import RunConfig
    from rollout.trajectory import Turn

WITHOUT_SIGNAL = "without_signal.parquet"
_MOST_WITHOUT_SIGNAL = 256  # turns, with their pictures


class RunFolder:
    """Paths and files of one run. Everything is written whole or not at all, but `metrics.jsonl`, which grows."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.models = path / "models"
        self.metrics = path / "metrics.jsonl"

    def begin(self, config: RunConfig, update: int, now: float) -> None:
        """Make the folder, write the configuration, and add to the starts of the run one that goes on with `update`.
        `now` is in seconds since the epoch."""
        self.path.mkdir(parents=True, exist_ok=True)
        text = dump_config(config)
        with whole_file(self.path / "config.yaml") as partial:
            partial.write_text(text, encoding="utf-8")
        self._end_of_last_start()
        settings = parse_yaml(text, "config.yaml")
        self._add_to_starts({"update": update, "began": now, "config": settings, "made_with": surroundings()})

    def ended(self, seconds: float) -> None:
        """Say how long the start took that `begin` told of."""
        self._add_to_starts({"seconds": seconds})

    def _end_of_last_start(self) -> None:
        """A start that was killed said no end: take the last time that its `progress.json` was written."""
        lines = (self.path / STARTS).read_text(encoding="utf-8").splitlines() if (self.path / STARTS).is_file() else []
        if not lines or "config" not in (last := json.loads(lines[-1])):
            return
        progress = self.read_json("progress.json") or {}
        if progress.get("at", 0.0) >= last["began"]:
            self.ended(progress["at"] - last["began"])

    def _add_to_starts(self, values: dict[str, Any]) -> None:
        with (self.path / STARTS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(values) + "\n")

    def add_update(self, metrics: dict[str, Any], turns: Sequence[Turn], keep: KeepConfig) -> None:
        """Write the trajectories of an update, what of them is to be kept, then its line of metrics."""
        from rollout.trajectory import write_parquet  # it loads Arrow, which a run that is finished can do without

        write_parquet(turns, self.path / "trajectories" / f"{metrics['update']:05}.parquet", keep)
        with self.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(metrics) + "\n")

    def keep_without_signal(self, turns: Sequence[Turn]) -> Path:
        """Keep the last of the turns that a run could learn nothing from, for somebody to look at. Returns the file."""
        from rollout.trajectory import write_parquet

        return write_parquet(turns[-_MOST_WITHOUT_SIGNAL:], self.path / WITHOUT_SIGNAL)

    def write_json(self, name: str, values: dict[str, Any]) -> None:
        """Write `values` as `name`."""
        with whole_file(self.path / name) as partial:
            partial.write_text(json.dumps(values, indent=2), encoding="utf-8")

    def read_json(self, name: str) -> dict[str, Any] | None:
        """The values of `name`, or None where it does not exist."""
        path = self.path / name
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None

    def save_checkpoint(self, algorithm: Any, keep: int) -> Path:
        """Write a checkpoint in one piece and remove all but the newest `keep`."""
        target = self.path / "checkpoints" / f"{algorithm.updates:05}"
        with atomic_directory(target.resolve()) as staging:
            algorithm.save_to_path(str(staging))
            write_inventory(staging)
        for old in self.checkpoints()[:-keep]:
            shutil.rmtree(old)
        return target

    def checkpoints(self) -> list[Path]:
        """Complete checkpoints, the oldest first."""
        folder = self.path / "checkpoints"
        for path in folder.glob("[0-9]*"):
            recover(path.resolve())
        heads = (HEAD, OLD_HEAD)
        return sorted(path for path in folder.glob("[0-9]*") if any((path / head).is_file() for head in heads))

    def last_checkpoint(self, note: Callable[[str], None] = lambda _: None) -> Path:
        """The newest checkpoint that is as it was written; `note` hears of those that are not.

        Raises:
            BadInput: there is none.
        """
        found = self.checkpoints()
        for path in reversed(found):
            if (problem := damage(path)) is None:
                return path.resolve()
            note(f"checkpoint {path.name} is damaged and left out: {problem}")
        what = f"all {len(found)} checkpoints are damaged" if found else "it holds no checkpoint"
        raise BadInput(f"--resume: {self.path}: {what}; start a new run without --resume")

    def finished_with(self, updates: int, asked: int) -> bool:
        """Whether a run of which `updates` are done, and `asked` are asked for, has come to its end: measured again,
        its models written, its summary complete.

        Raises:
            BadInput: fewer updates are asked for than are done.
        """
        if updates > asked:
            raise BadInput(
                f"stages: {asked} updates are fewer than the {updates} that are done; ask for at least as many, or "
                "start a new run"
            )
        summary = self.read_json("summary.json") or {}
        return (
            updates == asked and "minutes" in summary and all((self.path / one).exists() for one in summary["models"])
        )

    def forget_after(self, updates: int) -> None:
        """Remove metrics and trajectories of updates that a checkpoint does not know; they will be done again."""
        if self.metrics.is_file():
            lines = self.metrics.read_text(encoding="utf-8").splitlines()
            kept = [line for line in lines if line.endswith("}") and json.loads(line)["update"] < updates]
            self.metrics.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
        for file in (self.path / "trajectories").glob("*.parquet"):
            if int(file.stem) >= updates:
                file.unlink()
