from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presets.images import EditorConfig
from presets.settings import RolloutConfig
from rollout.groups.first_images import FirstImages, first_images
from rollout.groups.job import Drawn, Job, Started
from rollout.groups.sampler import GroupSampler
from rollout.state import State
from scenes.shape_world import sample_graphs
from tests.rollout.scripted_models import Lottery, ScriptedModels, picture

GRAPHS = list(islice(sample_graphs("train", 0), 40))
BATCH = 4


def at(position: int):
    return GRAPHS[position % len(GRAPHS)]


def drawn(positions, held=()) -> Drawn:
    """First images of these prompts, of which those `held` leave nothing to do."""
    return Drawn(
        [State(at(p), picture(p), [float(p in held)] * len(at(p).requirements), p, prompt=p) for p in positions], 0.5
    )


def test_what_a_job_brought_along_is_not_drawn_again_and_the_rest_is_as_if_it_had_been_drawn_with_it():
    plain = Job("run", "actor", tuple(Started(p, at(p), 0) for p in range(6)), 5)
    whole = first_images(Lottery(threshold=100), plain, 1)
    brought = Job("run", "actor", tuple(Started(p, at(p), 0, whole[p] if p % 2 else None) for p in range(6)), 5)
    models = Lottery(threshold=100)
    again = first_images(models, brought, 1)
    assert [len(seeds) for seeds in models.drawn] == [3]
    assert [(s.prompt, s.draw_seed, s.satisfaction) for s in again] == [
        (s.prompt, s.draw_seed, s.satisfaction) for s in whole
    ]
    assert all((a.image == b.image).all() for a, b in zip(again, whole, strict=True))


def test_a_job_ahead_says_what_its_models_computed():
    job = Job("run", "actor", tuple(Started(p, at(p), -1) for p in range(3)), 5, ahead=True)
    found = GroupSampler(ScriptedModels(), RolloutConfig(), EditorConfig()).draw(job)
    assert [state.prompt for state in found.states] == [0, 1, 2]
    assert found.compute_seconds == ScriptedModels.SECONDS.draw + ScriptedModels.SECONDS.check


def test_a_runner_draws_what_its_prompts_lack_and_is_then_free_for_them():
    ahead = FirstImages(BATCH, at)
    assert ahead.ask(0, [0, 1, 2, 3], first=4, ahead=False) == [0, 1, 2, 3]
    ahead.put(0, drawn([0, 1, 2, 3], held=[2]), 1.5)
    assert [p for p in range(4) if ahead.holds(p)] == [2]
    assert ahead.ask(0, [0, 1, 3], first=4, ahead=False) == []
    assert [one.state is not None for one in ahead.started([(0, 7), (9, 7)])] == [True, False]
    assert ahead.seconds() == (1.5, 0.5)
    assert ahead.seconds() == (0.0, 0.0)


def test_where_prompts_held_before_some_more_are_drawn_at_once():
    ahead = FirstImages(BATCH, at)
    ahead.ask(0, [0, 1, 2, 3], first=4, ahead=False)
    ahead.put(0, drawn([0, 1, 2, 3], held=[1, 2]), 0.0)
    assert ahead.ask(0, [0, 3, 4, 5], first=6, ahead=False) == [4, 5, 6, 7]  # 5 drawn, 3 open: 2 · 5/3


def test_an_idle_runner_draws_for_as_many_prompts_as_the_last_update_sampled_and_no_two_draw_the_same():
    ahead = FirstImages(BATCH, at)
    ahead.used(6)
    first, second = ahead.ask(0, [], 10, ahead=True), ahead.ask(1, [], 10, ahead=True)
    assert (first, second) == ([10, 11, 12, 13, 14, 15], [])
    ahead.put(0, drawn(first), 0.0)
    assert ahead.ask(0, [], 10, ahead=True) == []
    assert ahead.ask(0, [], 12, ahead=True) == [16, 17]
    assert ahead.ask(0, [], 12, ahead=False) == []


def test_after_an_error_nothing_is_drawn_ahead_before_the_next_update():
    ahead = FirstImages(BATCH, at)
    assert ahead.ask(3, [], 0, ahead=True)
    assert ahead.gave_up(3)
    assert not ahead.gave_up(3)
    ahead.failed()
    assert ahead.ask(3, [], 0, ahead=True) == []
    ahead.used(0)
    assert ahead.ask(3, [], 0, ahead=True) == [4, 5, 6, 7]


@given(st.lists(st.tuples(st.integers(0, 2), st.sets(st.integers(0, 400)), st.integers(0, 40)), max_size=40))
def test_the_images_that_are_kept_are_bounded_whatever_holds_and_however_long_nobody_samples(events):
    ahead, first = FirstImages(BATCH, at), 0
    for runner, held, used in events:
        ahead.gave_up(runner)
        ahead.used(used)
        asked = ahead.ask(runner, [], first, ahead=True)
        ahead.put(runner, drawn(asked, held), 0.0)
        assert len(ahead._states) <= 4 * BATCH
        assert len(ahead._spare) <= 4 * BATCH
        if used > 30:  # a prompt starts, and ends
            ahead.forget(first)
            first += 1


@pytest.mark.parametrize("held", [set(), set(range(100))])
def test_with_many_idle_runners_they_stop_asking(held):
    ahead = FirstImages(BATCH, at)
    for runner in range(100):
        ahead.put(runner, drawn(ahead.ask(runner, [], 0, ahead=True), held), 0.0)
    assert ahead.drawn <= 4 * BATCH
