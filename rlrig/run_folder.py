"""The folder that a run leaves: configuration, metrics, trajectories, checkpoints, models, summary, report."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from learner.checkpoint import atomic_directory, recover
from rollout.config_file import dump_config
from rollout.errors import BadInput
from rollout.inventory import damage, write_inventory
from rollout.trajectory import Turn, write_parquet
from scenes.whole_file import whole_file

if TYPE_CHECKING:
    from rollout.config import RunConfig


class RunFolder:
    """Paths and files of one run. Everything is written whole or not at all, but `metrics.jsonl`, which grows."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.models = path / "models"
        self.metrics = path / "metrics.jsonl"

    def create(self, config: RunConfig) -> None:
        """Make the folder and write the configuration."""
        self.path.mkdir(parents=True, exist_ok=True)
        (self.path / "config.yaml").write_text(dump_config(config), encoding="utf-8")

    def add_update(self, metrics: dict[str, Any], turns: Sequence[Turn]) -> None:
        """Write the trajectories of an update, then its line of metrics."""
        write_parquet(turns, self.path / "trajectories" / f"{metrics['update']:05}.parquet")
        with self.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(metrics) + "\n")

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
        return sorted(path for path in folder.glob("[0-9]*") if (path / "rllib_checkpoint.json").is_file())

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

    def forget_after(self, updates: int) -> None:
        """Remove metrics and trajectories of updates that a checkpoint does not know; they will be done again."""
        if self.metrics.is_file():
            lines = self.metrics.read_text(encoding="utf-8").splitlines()
            kept = [line for line in lines if line.endswith("}") and json.loads(line)["update"] < updates]
            self.metrics.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
        for file in (self.path / "trajectories").glob("*.parquet"):
            if int(file.stem) >= updates:
                file.unlink()
