"""An episode in words."""

from __future__ import annotations

from reports.episode_words import outcome, told
from rollout.course import course
from rollout.episode import draw_states, drive
from rollout.state import Episode
from scenes.requirements_reader import read_requirements
from scenes.shape_world import PREDICATES
from tests.rollout.scripted_models import ScriptedModels

GRAPH = read_requirements("red circle left of blue square; green star above red circle", PREDICATES)


def words(models: ScriptedModels, turns: int) -> tuple[list[str], Episode]:
    said: list[str] = []
    (state,) = draw_states(models, [GRAPH], [1])
    episode = Episode(GRAPH)
    (returned,) = drive(models, [told(course(state, 0, turns, episode), episode, said.append)])
    assert returned is episode
    return said, episode


def test_each_image_is_told_with_what_led_to_it_and_what_holds() -> None:
    said, episode = words(ScriptedModels(threshold=100, spread=60), 4)
    assert len(said) == len(episode.frames) > 2
    assert said[0] == "first image: 0 of 2 hold"
    for number, frame in enumerate(episode.frames[1:], 1):
        assert said[number].startswith(f"edit {number}: {frame.reflection} → {frame.edit_prompt} → ")
        assert said[number].endswith("no better: discarded") != frame.kept
    assert outcome(episode).endswith(f"after {len(episode.frames) - 1} edits")


def test_an_answer_that_cannot_be_read_is_told_with_its_reason() -> None:
    said, episode = words(ScriptedModels(unparsable_every=1), 2)
    reason, answer = episode.unread[0].reason, episode.unread[0].answer
    assert said[1:] == [
        f"turn 1: the answer could not be read ({reason}): {answer}",
        f"turn 2: the answer could not be read ({reason}): {answer}",
    ]
    assert outcome(episode).endswith("after 0 edits")
