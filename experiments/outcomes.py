"""How an arm makes an image for each prompt, and what that costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from actors.fleet import Fleet
from experiments.random_actor import RandomActor
from measuring.evaluation import EVALUATION_SEED
from rewards.satisfaction import reward_of
from rollout.episode import draw_states, play
from rollout.models import Models
from rollout.seeds import derive_seed
from rollout.state import Frame, State
from scenes.scene_graph import SceneGraph
from serving.actor import Actor
from serving.checker import Checker
from serving.own_checker import OwnChecker


@dataclass(frozen=True)
class Outcome:
    """What an arm made for each prompt: the last frame, the edits that it took, and model seconds for one image."""

    frames: list[Frame]
    turns: list[int]
    seconds: float


@dataclass(frozen=True)
class FirstImages:
    """The Diffuser's image for each prompt, checked; every arm begins with these. Seconds are for all of them."""

    graphs: list[SceneGraph]
    states: list[State]
    seconds: float

    @property
    def seconds_each(self) -> float:
        return self.seconds / len(self.graphs)


@dataclass(frozen=True)
class LoopModels:
    """The four models of the loop, as `rollout.episode.play` takes them."""

    diffuser: Fleet
    editor: Fleet
    actor: Actor | RandomActor
    checker: Checker | OwnChecker


def computed(models: Models | LoopModels) -> float:
    """Seconds that the models have computed so far, without transfer and waiting."""
    handles = (models.diffuser, models.editor, models.actor, models.checker)
    return sum(handle.compute_seconds for handle in handles)


def first_images(models: Models, graphs: Sequence[SceneGraph], draw: int = 0) -> FirstImages:
    """Draw and check; `draw` numbers different images of the same prompts."""
    before = computed(models)
    purpose = "draw" if draw == 0 else f"draw {draw}"
    seeds = [derive_seed(EVALUATION_SEED, purpose, graph.img_id) for graph in graphs]
    states = draw_states(models, graphs, seeds)
    return FirstImages(list(graphs), states, computed(models) - before)


def run_loop(models: Models, first: FirstImages, turns: int, random: bool = False) -> Outcome:
    """The Generate-Reflect-Edit loop, greedy, from the given first images."""
    actor = RandomActor() if random else models.actor
    used = LoopModels(models.diffuser, models.editor, actor, models.checker)
    before = computed(used)
    episodes = play(used, first.graphs, EVALUATION_SEED, turns, states=first.states)
    seconds = first.seconds_each + (computed(used) - before) / len(first.graphs)
    return Outcome([episode.answer for episode in episodes], [len(e.frames) - 1 for e in episodes], seconds)


def only_first(first: FirstImages) -> Outcome:
    """The Diffuser alone. Its seconds hold the check too, which a user would leave out."""
    frames = [Frame(state.image, state.satisfaction, seed=state.draw_seed) for state in first.states]
    return Outcome(frames, [0] * len(frames), first.seconds_each)


def images_for(budget: float, each: float) -> int:
    """N of best-of-N: how many checked images cost at least `budget` seconds at `each` seconds an image, 2 or more."""
    return max(2, int(np.ceil(budget / each - 1e-9)))


def best_of(models: Models, first: FirstImages, count: int) -> Outcome:
    """Of `count` images for each prompt, the one with the highest soft reward by the Checker; the first of equals."""
    rounds = [first] + [first_images(models, first.graphs, draw) for draw in range(1, count)]
    frames = []
    for k in range(len(first.graphs)):
        best = max((one.states[k] for one in rounds), key=lambda state: reward_of(state.satisfaction, "soft"))
        frames.append(Frame(best.image, best.satisfaction, seed=best.draw_seed))
    return Outcome(frames, [0] * len(frames), sum(one.seconds_each for one in rounds))
