import sys
import threading
import time
from pathlib import Path

import pytest

from presets.scoring.scorers import ScorerConfig
from presets.settings import RolloutConfig
from rewards.reward import Reward
from scenes.entry_point import EntryPointError
from tests.rewards.turns import picture, turn

OWN = """
import threading
import time

calls = []
both = threading.Barrier(2, timeout=5)

def meets(turns):
    both.wait()
    return [1.0] * len(turns)

def counts(turns):
    calls.append(len(turns))
    return [float(t.image[0, 0, 0]) for t in turns]

def slow(turns):
    time.sleep(1.0)
    return [1.0] * len(turns)

def nonsense(turns):
    return [float("nan") if t.image[0, 0, 0] == 7 else 1.0 for t in turns]

def wrong_count(turns):
    return [1.0]

def wrong_type(turns):
    return "good"

def dies(turns):
    calls.append(len(turns))
    raise KeyError("gone")

class Scaled:
    def __init__(self, by):
        self.by = by

    def __call__(self, turns):
        return [self.by for _ in turns]
"""


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "scorers_of_a_test.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "scorers_of_a_test", raising=False)


def entry(function: str, **settings) -> ScorerConfig:
    return ScorerConfig(scorer=f"scorers_of_a_test:{function}", **settings)


def reward(*entries: ScorerConfig) -> Reward:
    return Reward(RolloutConfig(reward="hard"), entries)


def calls() -> list[int]:
    return sys.modules["scorers_of_a_test"].calls


def test_without_a_list_the_reward_is_the_checkers():
    assert [worth.reward for worth in Reward(RolloutConfig(reward="hard")).worth("actor", [turn()])] == [1.0]
    assert [worth.reward for worth in Reward(RolloutConfig()).worth("actor", [turn()])] == [pytest.approx(0.85)]


def test_scorers_are_asked_at_the_same_time():
    found = reward(entry("meets", name="a"), entry("meets", name="b")).worth("actor", [turn()])
    assert found[0].reward == 2.0  # each waits for the other


def test_a_scorer_counts_for_the_policies_that_it_applies_to():
    one = reward(ScorerConfig(), entry("Scaled", options={"by": 3.0}, apply_to="editor"))
    assert [part.name for part in one.worth("actor", [turn()])[0].parts] == ["checker"]
    assert one.worth("editor", [turn()])[0].reward == 4.0


def test_turns_that_are_alike_are_scored_once_and_a_memo_spares_the_next_call():
    image, memo = picture(3), {}
    turns = [turn(image=image), turn(image=image), turn(image=picture(4)), turn(image=image, answer="another")]
    one = reward(entry("counts"))
    assert [worth.reward for worth in one.worth("actor", turns, memo=memo)] == [3.0, 3.0, 4.0, 3.0]
    assert one.worth("actor", [turns[0], turn(image=picture(9))], memo=memo)[1].reward == 9.0
    assert calls() == [3, 1]


def test_one_that_is_late_costs_its_samples_and_no_more_than_its_deadline():
    began = time.monotonic()
    worths = reward(ScorerConfig(), entry("slow", deadline_s=0.2)).worth("actor", [turn()])
    assert time.monotonic() - began < 0.8
    assert worths[0].rejected == "scorer slow gave no value"
    assert worths[0].parts[1].seconds == pytest.approx(0.2, abs=0.15)


@pytest.mark.parametrize("name", ["wrong_count", "wrong_type", "dies"])
def test_one_that_fails_or_answers_nonsense_costs_its_samples(name, caplog):
    turns = [turn(image=picture(1)), turn(image=picture(7))]
    worths = reward(ScorerConfig(), entry(name)).worth("actor", turns)
    assert [worth.rejected for worth in worths] == [f"scorer {name} gave no value"] * 2
    assert f"scorer {name} has no values" in caplog.text
    worths = reward(ScorerConfig(), entry(name, required=False)).worth("actor", turns)
    assert [worth.reward for worth in worths] == [1.0, 1.0]


def test_nan_costs_the_one_sample_that_has_it():
    worths = reward(ScorerConfig(), entry("nonsense")).worth("actor", [turn(image=picture(1)), turn(image=picture(7))])
    assert [worth.rejected for worth in worths] == [None, "scorer nonsense gave no value"]


def test_one_that_is_not_required_rests_after_it_failed_and_one_that_is_does_not():
    one = reward(ScorerConfig(), entry("dies", required=False), entry("dies", name="needed"))
    for value in (1, 2, 3):
        one.worth("actor", [turn(image=picture(value))])
    assert len(calls()) == 1 + 3


def test_the_checkers_nan_is_its_own_answer():
    worths = Reward(RolloutConfig()).worth("actor", [turn(satisfaction_after=[float("nan"), 1.0])])
    assert worths[0].rejected is None
    assert worths[0].reward != worths[0].reward


def test_what_cannot_be_made_is_named():
    with pytest.raises(EntryPointError, match="has no nothing"):
        reward(entry("nothing"))
    with pytest.raises(ValueError, match=r"rewards, entry 'length': options \{'moist': 3\} are refused"):
        reward(ScorerConfig(scorer="length", options={"moist": 3}))
    with pytest.raises(ValueError, match="free: 60 is refused: must be from 0 to below most = 48"):
        reward(ScorerConfig(scorer="length", options={"free": 60}))


def test_it_is_kept_while_its_settings_are_the_same():
    one = reward(ScorerConfig())
    assert one.fits(RolloutConfig(reward="hard"), [ScorerConfig()])
    assert not one.fits(RolloutConfig(reward="soft"), [ScorerConfig()])
    assert not one.fits(RolloutConfig(reward="hard"), [ScorerConfig(weight=2.0)])
    assert threading.active_count() < 50
