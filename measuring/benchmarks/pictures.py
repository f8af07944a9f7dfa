"""The pictures of a benchmark: drawn and corrected, written where its scorer reads them, and gone on with.

`diffuser/` holds the first images and `loop/` those that the episodes end with, each a whole folder for the scorer. A
picture that is there whole is not drawn again. `protocol.json` says how they were made; what was made otherwise is
refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from measuring.benchmarks.suite import SEED, Benchmark
from measuring.benchmarks.task import Task
from presets.errors import BadInput
from rollout.course import course
from rollout.episode import draw_states, drive
from rollout.seeds import derive_seed
from scenes.whole_file import whole_file

if TYPE_CHECKING:
    from presets.run_config import RunConfig
    from rollout.episode import Players

DRAWN, CORRECTED = "diffuser", "loop"
PROTOCOL, FACTS = "protocol.json", "pictures.jsonl"
BATCH = 16
"""Pictures that are in memory at a time, at most."""
_LAST = 1 << 20  # bytes of a weights file that tell it from others of its size


@dataclass(frozen=True)
class Wanted:
    """The k-th picture of the task at a place."""

    task: Task
    place: int
    k: int


@dataclass(frozen=True)
class Folder:
    """The pictures of one benchmark in a folder: n of each of its tasks."""

    path: Path
    benchmark: Benchmark
    tasks: Sequence[Task]
    n: int

    @property
    def all(self) -> Iterator[Wanted]:
        """Every picture, task by task."""
        return (Wanted(task, place, k) for place, task in enumerate(self.tasks) for k in range(self.n))

    def file(self, images: str, one: Wanted) -> Path:
        """Where a picture lies; `images` is `diffuser`, `loop`, or empty for a folder that was brought along."""
        return self.path / images / self.benchmark.picture(one.task, one.place, one.k, self.n)

    def missing(self) -> list[Wanted]:
        """The pictures that are not there whole."""
        return [one for one in self.all if not all(is_whole(self.file(images, one)) for images in (DRAWN, CORRECTED))]

    def write_beside(self) -> None:
        """The files that the scorer reads beside the pictures."""
        for task in self.tasks:
            if (found := self.benchmark.beside(task)) is not None:
                for images in (DRAWN, CORRECTED):
                    write_text(self.path / images / found[0], found[1])


def is_whole(file: Path) -> bool:
    """Whether a picture is there and can be decoded."""
    if not file.is_file():
        return False
    try:
        with Image.open(file) as image:
            image.verify()
    except Exception:  # Pillow raises whatever a damaged file brings about
        return False
    return True


def protocol_of(config: RunConfig, folder: Folder, prompts: Path) -> dict[str, Any]:
    """How pictures are made: what must be the same for all that lie in one folder."""
    models = {name: value for name, value in config.models.model_dump(mode="json").items() if isinstance(value, str)}
    models |= {f"adapters.{policy}": path for policy, path in config.models.adapters.items()}
    return {
        "benchmark": folder.benchmark.name,
        "source": folder.benchmark.source,
        "licence": folder.benchmark.licence,
        "prompts_sha256": hashlib.sha256(prompts.read_bytes()).hexdigest() if prompts.is_file() else str(prompts),
        "images_a_prompt": folder.n,
        "seed": f"{SEED} + k",
        "size": str(config.diffuser.size),
        "drawing": {"steps": config.diffuser.steps, "guidance": config.diffuser.guidance},
        "editing": {"steps": config.editor.ode_steps, "guidance": config.editor.guidance},
        "turns": config.rollout.turns,
        "drawings": config.rollout.drawings,
        "models": models,
        "weights": {name: _weights(value) for name, value in models.items()},
        "official_scorer": folder.benchmark.official,
    }


def settle(folder: Folder, protocol: Mapping[str, Any]) -> None:
    """Write down how the pictures are made, or see that those which are there were made so.

    Raises:
        BadInput: they were made otherwise; the message names what differs.
    """
    file = folder.path / PROTOCOL
    if file.is_file():
        try:
            before = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise BadInput(f"--out {folder.path}: {PROTOCOL} cannot be read: {error}; use another folder") from error
        differs = [key for key in protocol if not isinstance(before, dict) or before.get(key) != protocol[key]]
        if differs:
            was = before.get(differs[0]) if isinstance(before, dict) else None
            raise BadInput(
                f"--out {folder.path}: holds pictures that were made otherwise: {differs[0]} was {was!r:.100} and is "
                f"{protocol[differs[0]]!r:.100}; use another folder"
            )
        return
    write_text(file, json.dumps(dict(protocol), indent=2) + "\n")


def draw_missing(
    models: Players, folder: Folder, turns: int, drawings: int, note: Callable[[str], None] = lambda _: None
) -> int:
    """Draw and correct what is missing, `BATCH` pictures at a time; returns how many there were.

    Prompts without a relation are drawn alone: `loop` holds the same picture.
    """
    folder.write_beside()
    missing = folder.missing()
    for first in range(0, len(missing), BATCH):
        batch = missing[first : first + BATCH]
        _correct(models, folder, [one for one in batch if one.task.graph is not None], turns, drawings)
        _draw(models, folder, [one for one in batch if one.task.graph is None])
        note(f"{first + len(batch)} of {len(missing)} pictures")
    return len(missing)


def _correct(models: Players, folder: Folder, batch: Sequence[Wanted], turns: int, drawings: int) -> None:
    graphs = [one.task.graph for one in batch if one.task.graph is not None]
    if not graphs:
        return
    states = draw_states(models, graphs, [SEED + one.k for one in batch], drawings)
    seeds = [derive_seed(SEED, folder.benchmark.name, one.task.key, one.k) for one in batch]
    episodes = drive(models, [course(state, seed, turns) for state, seed in zip(states, seeds, strict=True)])
    for one, episode in zip(batch, episodes, strict=True):
        answer = episode.answer
        _note(folder, one, {"turns": len(episode.frames) - 1, "checker": [float(p) for p in answer.satisfaction]})
        _save(folder.file(DRAWN, one), episode.frames[0].image)
        _save(folder.file(CORRECTED, one), answer.image)


def _draw(models: Players, folder: Folder, batch: Sequence[Wanted]) -> None:
    if not batch:
        return
    images = models.diffuser.draw([one.task.text for one in batch], [SEED + one.k for one in batch])
    for one, image in zip(batch, images, strict=True):
        _note(folder, one, {"turns": 0})
        for images_of in (DRAWN, CORRECTED):
            _save(folder.file(images_of, one), image)


def _save(file: Path, image: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(file) as partial:
        Image.fromarray(image).save(partial, format="PNG")


def _note(folder: Folder, one: Wanted, facts: Mapping[str, Any]) -> None:
    """A line of `pictures.jsonl`: of a picture that was drawn twice, the last one counts."""
    line = {"key": one.task.key, "k": one.k, "seed": SEED + one.k, "prompt": one.task.text, **facts}
    with (folder.path / FACTS).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def write_text(file: Path, text: str) -> None:
    """Write a file in one piece, in folders that are made for it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(file) as partial:
        partial.write_text(text, encoding="utf-8")


def _weights(model: str) -> str:
    """A digest that tells the weights of a folder from others: names, sizes and last bytes; of a model on the hub, its
    name."""
    folder = Path(model)
    if not folder.is_dir():
        return model
    total = hashlib.sha256()
    for file in sorted(folder.rglob("*.safetensors")):
        size = file.stat().st_size
        with file.open("rb") as opened:
            opened.seek(max(0, size - _LAST))
            total.update(f"{file.relative_to(folder)} {size}".encode() + opened.read())
    return total.hexdigest()[:32]
