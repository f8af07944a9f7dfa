import json

import numpy as np
import pytest

from rewards.part import Part
from rewards.scales import DECAY, Scales


def rows(values, stage="actor", name="steady"):
    return [(stage, [Part(name, value, 0.0)]) for value in values]


def test_the_first_update_counts_in_full_and_later_ones_fade():
    scales = Scales()
    assert scales.of("actor") == {}
    scales.see(rows([1.0, 3.0]))
    assert scales.of("actor")["steady"] == pytest.approx((2.0, 1.0))
    scales.see(rows([5.0, 5.0]))
    weights = np.array([DECAY, 1.0]) / (1 + DECAY)
    mean = weights @ [2.0, 5.0]
    assert scales.of("actor")["steady"] == pytest.approx((mean, np.sqrt(weights @ [5.0, 25.0] - mean**2)))


def test_policies_and_scorers_are_apart_and_what_is_no_number_counts_for_nothing():
    scales = Scales()
    scales.see([*rows([1.0, float("nan")]), *rows([7.0], stage="editor"), ("actor", None)])
    assert scales.of("actor") == {"steady": (1.0, 0.0)}
    assert scales.of("editor") == {"steady": (7.0, 0.0)}


def test_a_checkpoint_keeps_them_to_the_bit():
    scales = Scales()
    scales.see(rows([0.1, 0.7, 0.3]))
    again = Scales(json.loads(json.dumps(scales.state())))
    for one in (scales, again):
        one.see(rows([0.2]))
    assert again.of("actor") == scales.of("actor")
