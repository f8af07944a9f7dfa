import numpy as np
import pytest

from learner.pretraining.moves import best_move, mean_gain, restatements
from learner.pretraining.vlm_tasks import gain, imperfect_state, unmet

STATES = [imperfect_state(rng, "train", (2, 3)) for rng in [np.random.default_rng(4)] for _ in range(40)]


def test_an_unmet_requirement_is_restated_from_either_side():
    graph, objects = STATES[0]
    missing = unmet(graph, objects)
    moves = restatements(missing)
    assert len(moves) == 2 * len(missing)
    assert moves[0] == missing[0].triple
    assert moves[1][::2] == missing[0].triple[::-2]


def test_the_mean_gain_is_that_of_moves_carried_out_at_random_places():
    rng = np.random.default_rng(0)
    pairs = np.array(
        [
            (mean_gain(move, graph, objects), np.mean([gain(move, graph, objects, rng) for _ in range(60)]))
            for graph, objects in STATES[:12]
            for move in restatements(unmet(graph, objects))
        ]
    )
    assert np.corrcoef(pairs.T)[0, 1] > 0.9
    assert np.abs(pairs[:, 0] - pairs[:, 1]).mean() < 0.12


def test_the_best_move_helps_more_often_than_any_restatement():
    rng = np.random.default_rng(1)
    best, every = [], []
    for graph, objects in STATES:
        missing = unmet(graph, objects)
        best.append(gain(best_move(missing, graph, objects), graph, objects, rng) > 0)
        every += [gain(move, graph, objects, rng) > 0 for move in restatements(missing)]
    assert np.mean(best) > np.mean(every) + 0.1


def test_a_move_that_is_asked_for_between_unknown_objects_is_refused():
    graph, objects = STATES[0]
    with pytest.raises(KeyError):
        mean_gain(("grey cone", "left of", objects[0].name), graph, objects)
