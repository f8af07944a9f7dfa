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
from scenes.laion_sg import load_records, read_record, split_records
from scenes.orders import contradictions
from scenes.record_file import RecordError
from scenes.scene_graph import SceneGraph
from scenes.shape_world import sample_graphs

if TYPE_CHECKING:
    from presets.data import DataConfig


class Prompts:
    """Training prompts, as an endless stream that is shuffled anew in every pass, and held-out prompts.

    `notes` say what of the data is not used, and what is odd about it."""

    def __init__(
        self, train: list[SceneGraph], held_out: list[SceneGraph], seed: int, notes: Sequence[str] = ()
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
    if is_entry_point(data.source):
        return _load(data, seed, None)
    file = Path(data.path or "")
    return _load_once(data, seed, (file.stat().st_mtime_ns, file.stat().st_size) if file.is_file() else None)


def _load(data: DataConfig, seed: int, written: tuple[int, int] | None) -> Prompts:
    if data.source == "shape_world":
        train = list(islice(sample_graphs("train", seed, data.relations), data.train_size))
        return Prompts(train, list(islice(sample_graphs("held_out", seed, data.relations), data.held_out_size)), seed)
    graphs, notes = (_own_graphs(data, seed), []) if is_entry_point(data.source) else _recorded_graphs(data)
    low, high = data.relations
    graphs = [graph for graph in graphs if low <= len(graph.requirements) <= high]
    impossible = {graph.img_id: found for graph in graphs if (found := contradictions(graph))}
    if impossible:
        first, (problem, *_) = next(iter(impossible.items()))
        notes = [*notes, f"{_origin(data)}: {len(impossible)} records are left out, as {first!r}: {problem}"]
        graphs = [graph for graph in graphs if graph.img_id not in impossible]
    splits = split_records(graphs, seed)
    train, held_out = splits["train"][: data.train_size], splits["test"][: data.held_out_size]
    if not train or not held_out:
        raise BadInput(
            f"{_origin(data)} leaves {len(train)} training and {len(held_out)} held-out records with "
            f"{low} to {high} relations; give more records, or widen data.relations"
            + "".join(f"\n  {note}" for note in notes)
        )
    return Prompts(train, held_out, seed, notes)


_load_once = lru_cache(maxsize=1)(_load)  # a run looks at them before it starts, too


def _origin(data: DataConfig) -> str:
    return f"data.source: {data.source}" if is_entry_point(data.source) else f"data.path: {data.path}"


def _recorded_graphs(data: DataConfig) -> tuple[list[SceneGraph], list[str]]:
    try:
        graphs, report = load_records(Path(data.path or ""))
    except (RecordError, OSError) as error:
        raise BadInput(f"data.path: {error}") from error
    return graphs, report.notes


def _own_graphs(data: DataConfig, seed: int) -> list[SceneGraph]:
    """What the user's function gives: scene graphs, or records in LAION-SG's form. Those without relations are left
    out."""
    graphs: dict[str, SceneGraph] = {}
    try:
        for index, given in enumerate(load_entry_point("data.source", data.source)(data.path, seed)):
            where = f"record {index}"
            graph = given if isinstance(given, SceneGraph) else read_record(given, where)
            if graph.img_id in graphs:
                raise RecordError(f"{where}: img_id {graph.img_id!r} was given before; give each record its own")
            if graph.relations:
                graphs[graph.img_id] = graph
    except EntryPointError as error:
        raise BadInput(str(error)) from error
    except Exception as error:
        raise BadInput(f"{_origin(data)}, data.path {data.path!r}: {type(error).__name__}: {error}") from error
    return list(graphs.values())
