"""The prompts of a run: which scene graphs it trains on, in which order, and which ones it never sees."""

from __future__ import annotations

from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rollout.errors import BadInput
from scenes.laion_sg import RecordError, load_records, split_records
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
        BadInput: a file that cannot be read as LAION-SG records, or that holds too few of them.
    """
    if data.source == "shape_world":
        train = list(islice(sample_graphs("train", seed, data.relations), data.train_size))
        return Prompts(train, list(islice(sample_graphs("held_out", seed, data.relations), data.held_out_size)), seed)
    try:
        graphs, _ = load_records(Path(data.path or ""))
    except (RecordError, OSError) as error:
        raise BadInput(f"data.path: {error}") from error
    low, high = data.relations
    graphs = [graph for graph in graphs if low <= len(graph.requirements) <= high]
    splits = split_records(graphs, seed)
    train, held_out = splits["train"][: data.train_size], splits["test"][: data.held_out_size]
    if not train or not held_out:
        raise BadInput(
            f"data.path: {data.path} leaves {len(train)} training and {len(held_out)} held-out records with "
            f"{low} to {high} relations; give more records, or widen data.relations"
        )
    return Prompts(train, held_out, seed)
