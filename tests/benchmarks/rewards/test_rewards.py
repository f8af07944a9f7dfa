import json

import pytest

from benchmarks.rewards.__main__ import entries, shares
from benchmarks.rewards.service import serving
from presets.errors import BadInput
from presets.run_file import load_config
from presets.scoring.places import HttpConfig
from rewards.service.http import HttpScorer
from tests.places import PRESET
from tests.rewards.turns import IMAGE, turn


def test_the_share_is_of_the_updates_after_the_first_of_each_policy():
    lines = [
        {"stage": "actor", "seconds_total": 100.0, "scorer_seconds": {"a": 50.0, "b": 0.0}},
        {"stage": "actor", "seconds_total": 10.0, "scorer_seconds": {"a": 1.0, "b": 0.5}},
        {"stage": "editor", "seconds_total": 100.0, "scorer_seconds": {"a": 50.0}},
        {"stage": "editor", "seconds_total": 30.0, "scorer_seconds": {"a": 3.0}},
    ]
    assert shares(lines) == {"a": (2.0, 0.1), "b": (0.25, 0.0125)}
    with pytest.raises(BadInput, match="give at least 2"):
        shares(lines[:1])


def test_eight_scorers_are_taken_and_the_service_answers():
    half = IMAGE.copy()
    half[:32] = 255 - half[:32]
    with serving() as url:
        config = load_config(PRESET, [f"rewards={json.dumps(entries(url))}"])
        assert len(config.rewards) == 8
        assert HttpScorer("over_http", HttpConfig(url=url), 5.0, {})([turn(), turn(image=half)]) == [1.0, 0.5]
