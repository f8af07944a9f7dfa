"""One call of a scorer with something small, before anything starts."""

from __future__ import annotations

import numpy as np

from presets.errors import BadInput
from presets.scoring.scorers import ScorerConfig
from presets.settings import RolloutConfig
from rewards.build import Scorer, new_scorer
from rewards.turn import ScoredTurn, still_turn
from rewards.values import ScorerFailed, checked_values, nonsense
from scenes.entry_point import EntryPointError, is_entry_point, load_entry_point
from scenes.scene_graph import SceneGraph


def try_scorer(entry: ScorerConfig, rollout: RolloutConfig, image: np.ndarray, graph: SceneGraph) -> None:
    """Make a scorer that runs in this process and, where it is code of the user's, call it with an edit and with a turn
    that changes nothing. Of one with a fleet only the code is imported, as making it may load a model.

    Args:
        image: (H, W, 3) uint8.
        graph: with two requirements.

    Raises:
        BadInput: its options do not fit, or it does not return a finite number for each turn.
        EntryPointError: there is no such code.
    """
    own = is_entry_point(entry.scorer)
    if entry.fleet is not None and own:
        load_entry_point(f"rewards, entry {entry.title!r}", entry.scorer)
        return
    try:
        scorer = new_scorer(entry, rollout)
    except EntryPointError:
        raise
    except ValueError as error:
        raise BadInput(str(error)) from error
    if own:
        _ask(scorer, entry, image, graph)


def try_service(entry: ScorerConfig, rollout: RolloutConfig, image: np.ndarray, graph: SceneGraph) -> None:
    """Ask a scorer that is a service about two turns. Arguments as those of `try_scorer`.

    Raises:
        ScorerFailed: it cannot be reached, or its answer cannot be used.
        BadInput: it gave no finite number for one of them.
    """
    _ask(new_scorer(entry, rollout), entry, image, graph)


def _ask(scorer: Scorer, entry: ScorerConfig, image: np.ndarray, graph: SceneGraph) -> None:
    edited = image.copy()
    edited[: len(image) // 2] = 200
    before, after = [0.9, 0.1], [0.9, 0.8]
    texts = ("the circle is on the wrong side", "move red circle left of blue square")
    turns = [
        still_turn(0, "actor", graph, image, before),
        ScoredTurn(0, "actor", graph, image, edited, before, after, *texts, answer=texts[1], tokens=8),
    ]
    given = scorer(turns)
    try:
        values = checked_values(given, len(turns))
        given = list(given)
    except ScorerFailed as error:
        raise BadInput(f"rewards, entry {entry.title!r}: {entry.scorer} {error}") from error
    if None in values:
        raise BadInput(f"rewards, entry {entry.title!r}: {entry.scorer} {nonsense(given, values)}")
