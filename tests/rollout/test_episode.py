from itertools import islice

import pytest

from rewards.satisfaction import improves, reward_of
from rollout.course import RETRY_TEMPERATURE
from rollout.episode import draw_states, play
from rollout.seeds import derive_seed
from rollout.state import State, unmet
from scenes.dialogues.dialogue import load_dialogue
from scenes.shape_world import sample_graphs
from scenes.vocabulary.vocabulary import ANY_RELATION
from tests.rollout.scripted_models import Lottery, ScriptedModels, picture

GRAPHS = list(islice(sample_graphs("held_out", 0), 6))


@pytest.mark.parametrize(("kind", "expected"), [("hard", 2 / 3), ("soft", 1.6 / 3)])
def test_the_reward_is_the_fraction_of_requirements_that_hold_or_their_mean_probability(kind, expected):
    assert reward_of([0.9, 0.5, 0.2], kind) == pytest.approx(expected)


def test_the_request_names_all_requirements_and_those_that_are_unmet():
    graph = GRAPHS[0]
    probabilities = [0.9] + [0.1] * (len(graph.requirements) - 1)
    state = State(graph, picture(0), probabilities, 0)
    assert not state.done
    goal, missing = state.request.split(" . unmet : ")
    assert all(requirement.text in goal for requirement in graph.requirements)
    assert graph.requirements[0].text not in missing
    assert graph.requirements[1].text in missing
    assert unmet(graph, probabilities) == graph.requirements[1:]


def test_an_episode_is_asked_in_the_actors_dialogue():
    models = ScriptedModels(threshold=128)
    models.actor.dialogue = load_dialogue("general")
    frames = [frame for episode in play(models, GRAPHS, seed=0, turns=2) for frame in episode.frames[1:]]
    assert frames
    assert all(frame.request.startswith("The picture should meet these requirements:\n1. ") for frame in frames)
    assert not any(" unmet : " in frame.request for frame in frames)


def test_requirements_of_every_kind_are_checked_and_told_to_the_actor():
    graph = ANY_RELATION.read("a fox on a table; a lamp; two cats; the table is wooden; ? Is the fox asleep?")
    models = ScriptedModels(threshold=128)
    models.actor.dialogue = load_dialogue("general")
    (episode,) = play(models, [graph], seed=0, turns=1)
    assert [len(frame.satisfaction) for frame in episode.frames] == [5] * len(episode.frames)
    request = State(graph, picture(0), [0.9] * 2 + [0.1] * 3, 0, dialogue=load_dialogue("general")).request
    assert "3. the picture shows exactly two cats\n4. table is wooden\n" in request
    assert "Not met yet: 3, 4, 5\n" in request


def test_episodes_end_when_all_holds_or_after_the_last_turn():
    episodes = play(ScriptedModels(threshold=128), GRAPHS, seed=0, turns=3)
    for episode in episodes:
        done = [min(frame.satisfaction) >= 0.5 for frame in episode.frames]
        assert not any(done[:-1])
        assert done[-1] or len(episode.frames) == 4


def test_an_unparsable_answer_uses_up_its_turn():
    models = ScriptedModels(unparsable_every=1)
    episodes = play(models, GRAPHS, seed=0, turns=3)
    assert all(len(episode.frames) == 1 and episode.answer is episode.frames[0] for episode in episodes)
    assert [count for count, _ in models.asked] == [len(GRAPHS)] * 3
    for episode in episodes:
        assert [(one.turn, bool(one.request), bool(one.answer)) for one in episode.unread] == [
            (turn, True, True) for turn in (1, 2, 3)
        ]
        assert all(one.reason for one in episode.unread)


@pytest.mark.parametrize(
    ("before", "after", "better"),
    [
        ([0.9, 0.1], [0.9, 0.2], True),  # as many hold, with a higher mean
        ([0.9, 0.1], [0.9, 0.1], False),
        ([0.9, 0.4], [0.6, 0.6], True),  # one more holds, though the mean fell
        ([0.6, 0.6], [1.0, 0.4], False),
    ],
)
def test_an_edit_improves_an_image_by_requirements_that_hold_then_by_probability(before, after, better):
    assert improves(before, after) == better


def test_an_edit_that_makes_nothing_better_is_not_kept_and_the_turn_after_it_starts_again():
    models = ScriptedModels(threshold=100, spread=60)
    episodes = play(models, GRAPHS, seed=3, turns=4)
    assert any(not frame.kept for episode in episodes for frame in episode.frames)
    assert any(sum(frame.kept for frame in episode.frames) > 2 for episode in episodes)
    for episode in episodes:
        best = episode.frames[0].satisfaction
        for frame in episode.frames[1:]:
            assert frame.kept == improves(best, frame.satisfaction)
            best = frame.satisfaction if frame.kept else best
        assert episode.answer.satisfaction == best


def test_a_question_that_was_asked_before_is_not_answered_greedily():
    models = ScriptedModels(threshold=255)  # nothing ever gets better
    play(models, GRAPHS, seed=0, turns=3)
    assert models.temperatures == [0.0, RETRY_TEMPERATURE, RETRY_TEMPERATURE]


def test_nothing_is_asked_about_an_image_that_already_holds():
    models = ScriptedModels(threshold=5, first=10)
    assert all(len(episode.frames) == 1 for episode in play(models, GRAPHS, seed=0, turns=2))
    assert models.asked == []


def test_of_several_drawings_the_best_goes_on_and_none_is_drawn_after_one_that_holds():
    models, seeds = Lottery(threshold=100), list(range(0, 200, 5))
    graphs = GRAPHS[:1] * len(seeds)
    states = draw_states(models, graphs, seeds, drawings=4)
    assert models.drawn[0] == seeds
    assert len(models.drawn) == 4
    tries = {seed: [seed, *(derive_seed(seed, "drawing", number) for number in (1, 2, 3))] for seed in seeds}
    for seed, state in zip(seeds, states, strict=True):
        held = [sum(one % 200 > 100 + 40 * k for k in range(len(graphs[0].requirements))) for one in tries[seed]]
        assert state.draw_seed == tries[seed][held.index(max(held))]
        assert int(state.image[0, 0, 0]) == state.draw_seed % 200
    left = [seed for seed, state in zip(seeds, states, strict=True) if not state.done]
    assert 0 < len(left) < len(seeds)
    assert len(models.drawn[3]) >= len(left)
    assert len(models.drawn[3]) < len(models.drawn[1]) < len(seeds)
    assert [one.draw_seed for one in draw_states(models, graphs, seeds)] == seeds
