"""The prompts of a run: which scene graphs it trains on, in which order, and which ones it never sees."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from presets.errors import BadInput
from scenes.entry_point import EntryPointError, is_entry_point, load_entry_point
from scenes.laion_sg import RecordReader, load_records
from scenes.record_file import RecordError
from scenes.records.compact import Graphs
from scenes.records.report import LoadReport
from scenes.records.split import divided
from scenes.scene_graph import SceneGraph
from scenes.shape_world import sample_graphs

if TYPE_CHECKING:
    from presets.data import DataConfig


class Prompts:
    """Training prompts, as an endless stream that is shuffled anew in every pass, and held-out prompts.

    `notes` say what of the data is not used, and what is odd about it."""

    def __init__(
        self, train: Sequence[SceneGraph], held_out: Sequence[SceneGraph], seed: int, notes: Sequence[str] = ()
    ) -> None:
        self.train, self.held_out, self.seed, self.notes = train, held_out, seed, tuple(notes)

    def at(self, position: int) -> SceneGraph:
        """The training prompt at a position of the stream, from 0."""
        lap, index = divmod(position, len(self.train))
        return self.train[int(_order(self.seed, lap, len(self.train))[index])]


@lru_cache(maxsize=4)
def _order(seed: int, lap: int, count: int) -> np.ndarray:
    return np.random.default_rng([seed, lap]).permutation(count)


def load_prompts(data: DataConfig, seed: int) -> Prompts:
    """The prompts that a configuration names.

    Raises:
        BadInput: a file that cannot be read as LAION-SG records, code of the user's own that fails, or too few records.
    """
    return _load(data, seed, None) if is_entry_point(data.source) else _load_once(data, seed, _written(data.path))


def _written(path: str | None) -> tuple[tuple[str, int, int], ...]:
    """Name, time and size of the file at a path, or of all files of the folder."""
    place = Path(path or "")
    files = sorted(place.iterdir()) if path and place.is_dir() else [place]
    return tuple((file.name, file.stat().st_mtime_ns, file.stat().st_size) for file in files if file.is_file())


def _load(data: DataConfig, seed: int, written: tuple[tuple[str, int, int], ...] | None) -> Prompts:
    if data.source == "shape_world":
        made, unseen = (sample_graphs(split, seed, data.relations) for split in ("train", "held_out"))
        return Prompts(list(islice(made, data.train_size)), list(islice(unseen, data.held_out_size)), seed)
    graphs, notes = _recorded(data, seed)
    low, high = data.relations
    fitting = graphs.with_relations(low, high)
    if outside := len(graphs) - len(fitting):
        notes.append(
            f"{_origin(data)}: {outside:,} of {len(graphs):,} usable records have fewer or more relations than "
            f"data.relations asks for, {low} to {high}"
        )
    splits = divided(fitting, seed)
    train, held_out = splits["train"][: data.train_size], splits[data.held_out_split][: data.held_out_size]
    if not train or not held_out:
        raise BadInput(
            f"{_origin(data)} leaves {len(train)} training and {len(held_out)} held-out records with "
            f"{low} to {high} relations ({', '.join(f'{len(part)} {split}' for split, part in splits.items())}); give "
            "more records, widen data.relations, or change data.held_out_split"
            + "".join(f"\n  {note}" for note in notes)
        )
    return Prompts(train, held_out, seed, notes)


_load_once = lru_cache(maxsize=1)(_load)  # a run looks at them before it starts, too


def _origin(data: DataConfig) -> str:
    return f"data.source: {data.source}" if is_entry_point(data.source) else f"data.path: {data.path}"


def _recorded(data: DataConfig, seed: int) -> tuple[Graphs, list[str]]:
    """The scene graphs of records, and what to say about those that cannot be used."""
    own = is_entry_point(data.source)
    try:
        graphs, report = _own_records(data, seed) if own else load_records(Path(data.path or ""), data.requirements)
    except EntryPointError as error:
        raise BadInput(str(error)) from error
    except (RecordError, OSError) as error:
        raise BadInput(str(error) if own else f"data.path: {error}") from error
    return graphs, report.notes


def _own_records(data: DataConfig, seed: int) -> tuple[Graphs, LoadReport]:
    """What the user's function gives: scene graphs, or records in LAION-SG's form."""
    reader = RecordReader(_origin(data), data.requirements)
    try:
        for index, given in enumerate(load_entry_point("data.source", data.source)(data.path, seed)):
            reader.take(f"record {index}", given)
    except EntryPointError:
        raise
    except Exception as error:
        raise BadInput(f"{_origin(data)}, data.path {data.path!r}: {type(error).__name__}: {error}") from error
    return reader.finish()
