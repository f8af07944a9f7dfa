"""The prompts of a run: which scene graphs it trains on, in which order, and which ones it never sees."""

from __future__ import annotations

from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rollout.errors import BadInput
from scenes.entry_point import EntryPointError, is_entry_point, load_entry_point
from scenes.laion_sg import RecordError, load_records, read_record, split_records
from scenes.scene_graph import SceneGraph
from scenes.shape_world import sample_graphs

if TYPE_CHECKING:
    from rollout.config import DataConfig


class Prompts:
    """Training prompts, as an endless stream that is shuffled anew in every pass, and held-out prompts."""

    def __init__(self, train: list[SceneGraph], held_out: list[SceneGraph], seed: int) -> None:
        self.train, self.held_out, self.seed = train, held_out, seed

    def at(self, position: int) -> SceneGraph:
        """The training prompt at a position of the stream, from 0."""
        lap, index = divmod(position, len(self.train))
        return self.train[_order(self.seed, lap, len(self.train))[index]]


@lru_cache(maxsize=4)
def _order(seed: int, lap: int, count: int) -> np.ndarray:
    return np.random.default_rng([seed, lap]).permutation(count)


def load_prompts(data: DataConfig, seed: int) -> Prompts:
    """The prompts that a configuration names.

    Raises:
        BadInput: a file that cannot be read as LAION-SG records, code of the user's own that fails, or too few records.
    """
    if data.source == "shape_world":
        train = list(islice(sample_graphs("train", seed, data.relations), data.train_size))
        return Prompts(train, list(islice(sample_graphs("held_out", seed, data.relations), data.held_out_size)), seed)
    graphs = _own_graphs(data, seed) if is_entry_point(data.source) else _recorded_graphs(data)
    low, high = data.relations
    graphs = [graph for graph in graphs if low <= len(graph.requirements) <= high]
    splits = split_records(graphs, seed)
    train, held_out = splits["train"][: data.train_size], splits["test"][: data.held_out_size]
    if not train or not held_out:
        raise BadInput(
            f"{_origin(data)} leaves {len(train)} training and {len(held_out)} held-out records with "
            f"{low} to {high} relations; give more records, or widen data.relations"
        )
    return Prompts(train, held_out, seed)


def _origin(data: DataConfig) -> str:
    return f"data.source: {data.source}" if is_entry_point(data.source) else f"data.path: {data.path}"


def _recorded_graphs(data: DataConfig) -> list[SceneGraph]:
    try:
        graphs, _ = load_records(Path(data.path or ""))
    except (RecordError, OSError) as error:
        raise BadInput(f"data.path: {error}") from error
    return graphs


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
