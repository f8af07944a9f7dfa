"""The cause and the remedy that are named where prompts carry no signal."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest

from presets.errors import RunFailed
from presets.settings import RolloutConfig
from rollout.groups.no_signal import ANSWERS, NoSignal, SignalWatch, cause, teaches, unparsed

SETTINGS = RolloutConfig(max_answer_tokens=8, dialogue="general")


def turn(
    reward: float = 0.5, edit_prompt: str | None = "move a", text: str = "Well,\nI see", tokens: int = 3, rejected=None
):
    return SimpleNamespace(
        reward=reward,
        edit_prompt=edit_prompt,
        answer_text=text,
        token_ids=[1] * tokens,
        truncated=tokens >= SETTINGS.max_answer_tokens,
        unread="no edit" if edit_prompt is None else None,
        rejected=rejected,
    )


@pytest.mark.parametrize(
    ("turns", "expected"),
    [
        ([], "the first images meet all requirements"),
        ([turn(0.97), turn(1.0)], r"mean reward is 0\.98: there is nothing left to learn"),
        ([turn(0.2), turn(0.2), turn(-0.4, None)], r"mean reward is 0\.00, and 33% of the answers could not be parsed"),
        (
            [turn(float("nan"), rejected="scorer far gave no value")] * 3,
            r"scorer far gave no value 3 times: .*required",
        ),
        ([turn(float("nan"), rejected="the image is black"), turn(0.2)], r"mean reward is 0\.20"),
        ([turn(0.0, None)] * 3, "none of 3 answers could be parsed in the dialogue 'general'"),
    ],
)
def test_the_cause_is_that_of_these_turns(turns, expected):
    assert re.search(expected, cause(turns, SETTINGS))


def test_what_was_cut_off_teaches_the_actor_only_where_it_may():
    cut, whole = (SimpleNamespace(stage="actor", dropped=False, truncated=one) for one in (True, False))
    picky = SETTINGS.model_copy(update={"learn_truncated": False})
    assert [teaches(one, SETTINGS) for one in (cut, whole)] == [True, True]
    assert [teaches(one, picky) for one in (cut, whole)] == [False, True]
    assert teaches(SimpleNamespace(stage="editor", dropped=False, truncated=True), picky)
    assert not teaches(SimpleNamespace(stage="actor", dropped=True, truncated=False), SETTINGS)
    told = cause([turn(0.2, tokens=8), turn(0.4, tokens=8)], picky)
    assert "all answers were cut off, and rollout.learn_truncated is false: raise rollout.max_answer_tokens" in told


def test_an_answer_is_shown_and_the_remedy_fits():
    told = unparsed([turn(0.0, None)] * 40, SETTINGS)
    assert "none of 40 answers" in told
    assert "in the dialogue 'general' (no edit 40); the first: 'Well, I see'" in told
    assert "set rollout.dialogue to one that the Actor knows" in told
    assert "raise rollout.max_answer_tokens" in unparsed([turn(0.0, None, "x" * 900, tokens=8)] * 40, SETTINGS)
    assert len(unparsed([turn(0.0, None, "x" * 900)], SETTINGS)) < 500


def test_a_run_ends_when_none_of_its_first_answers_can_be_parsed_and_not_when_one_could():
    watch = SignalWatch(SETTINGS)
    watch.refuse_in_vain([turn(0.0, None)] * (ANSWERS - 1))
    with pytest.raises(NoSignal, match=f"none of {ANSWERS} answers could be parsed") as error:
        watch.refuse_in_vain([turn(0.0, None)])
    assert len(error.value.turns) == ANSWERS
    watch = SignalWatch(SETTINGS)
    watch.refuse_in_vain([turn(0.0, None)] * (ANSWERS - 1) + [turn()])
    watch.refuse_in_vain([turn(0.0, None)] * ANSWERS)


def test_as_many_prompts_without_a_signal_as_a_run_bears_end_it_and_an_update_forgives_them():
    settings = RolloutConfig(max_tries=2, prompts_per_update=2)
    watch = SignalWatch(settings)
    for _ in range(3):
        watch.missed([turn(1.0), turn(1.0)])
    watch.refuse_in_vain([turn()])
    assert len(watch.taken()) == 6
    for _ in range(4):
        watch.missed([turn(1.0)])
    with pytest.raises(RunFailed, match=r"^4 prompts in a row .*max_tries = 2\): their mean reward is 1\.00"):
        watch.refuse_in_vain([])
