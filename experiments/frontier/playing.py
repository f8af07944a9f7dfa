"""Plays traces: drawings, and loops that start from the Checker's choice of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from experiments.frontier.rows import Key, Point, Rows, Trace, loop_key, start_key
from experiments.frontier.systems import Setting
from measuring.evaluation import EVALUATION_SEED
from rewards.satisfaction import reward_of
from rollout.course import course
from rollout.episode import drive
from rollout.seeds import derive_seed
from rollout.state import Episode, Frame, State
from scenes.extractors import extract
from scenes.scene_graph import SceneGraph
from scenes.scene_graph_iou import score

if TYPE_CHECKING:
    from actors.edit import Edit
    from actors.inverse_diffuser import InverseDiffuser
    from actors.model_families import Drawer
    from rollout.episode import Reflector
    from serving.checker import Checker
    from serving.own_checker import OwnChecker


@dataclass(frozen=True)
class Cast:
    """All models that traces are played with: Actors, or what stands in their place, and editors by name."""

    diffuser: Drawer
    checker: Checker | OwnChecker
    actors: dict[str, Reflector]
    editors: dict[str, InverseDiffuser]


@dataclass(frozen=True)
class Stepped:
    """An editor with its own number of denoising steps."""

    editor: InverseDiffuser
    steps: int

    def edit(self, images: Sequence[np.ndarray], prompts: Sequence[str], seeds: Sequence[int]) -> list[Edit]:
        """See `InverseDiffuser.edit`."""
        return self.editor.edit(images, prompts, seeds, steps=self.steps)


@dataclass(frozen=True)
class Players:
    """`rollout.episode.Players`."""

    diffuser: Drawer
    editor: Stepped
    actor: Reflector
    checker: Checker | OwnChecker


def point_of(graph: SceneGraph, image: np.ndarray, satisfaction: Sequence[float], edits: int = 0) -> Point:
    """An image of a trace, with the truth and what the Checker says."""
    scores = score(graph, extract(image))
    soft, held = reward_of(satisfaction, "soft"), reward_of(satisfaction, "hard")
    return Point(scores.sg_iou, float(scores.satisfied >= 1.0), soft, held, edits)


def points_of(episode: Episode) -> tuple[Point, ...]:
    """The first image of an episode and its answer after each turn."""
    unread = {one.turn for one in episode.unread}
    frames = iter(episode.frames)

    def point(frame: Frame, edits: int) -> Point:
        return point_of(episode.graph, frame.image, frame.satisfaction, edits)

    points = [point(next(frames), 0)]
    for turn in range(1, len(episode.frames) + len(unread)):
        if turn in unread:
            points.append(points[-1])
            continue
        edited, edits = next(frames), points[-1].edits + 1
        points.append(point(edited, edits) if edited.kept else points[-1]._replace(edits=edits))
    return tuple(points)


@dataclass
class Playing:
    """Plays what `rows` lacks, of the prompts `graphs` of one set. Images that were drawn are kept for the loops."""

    cast: Cast
    rows: Rows
    phase: str
    prompts: str
    graphs: Sequence[SceneGraph]
    _drawn: dict[tuple[str, int, int], State] = field(default_factory=dict)

    def draw(self, steps: int, most: int) -> None:
        """Traces of up to `most` drawings of so many steps."""
        missing = [graph for graph in self.graphs if self.rows.find(self._start(graph, steps), most) is None]
        points: dict[str, list[Point]] = {graph.img_id: [] for graph in missing}
        left = missing
        for number in range(most):
            for graph, state in zip(left, self._states([(graph, number) for graph in left], steps), strict=True):
                points[graph.img_id].append(point_of(graph, state.image, state.satisfaction))
            left = [graph for graph in left if points[graph.img_id][-1].held < 1.0]
        self.rows.keep(
            Trace(self._start(graph, steps), len(graph.requirements), most, tuple(points[graph.img_id]))
            for graph in missing
        )

    def loop(self, setting: Setting, actor: str, editor: str) -> None:
        """Traces of up to `setting.turns` turns from the Checker's choice; those of the drawings must be there."""
        chosen: dict[str, int] = {}
        for graph in self.graphs:
            drawings = self.rows.find(self._start(graph, setting.draw_steps), setting.drawings)
            assert drawings is not None, "`draw` comes first"
            chosen[graph.img_id] = drawings.choice(setting.drawings)
        keys = {
            graph.img_id: loop_key(
                self._start(graph, setting.draw_steps), chosen[graph.img_id], actor, editor, setting.edit_steps
            )
            for graph in self.graphs
        }
        missing = [graph for graph in self.graphs if self.rows.find(keys[graph.img_id], setting.turns) is None]
        if not missing:
            return
        states = self._states([(graph, chosen[graph.img_id]) for graph in missing], setting.draw_steps)
        stepped = Stepped(self.cast.editors[editor], setting.edit_steps)
        players = Players(self.cast.diffuser, stepped, self.cast.actors[actor], self.cast.checker)
        episodes = drive(players, [course(state, EVALUATION_SEED, setting.turns) for state in states])
        self.rows.keep(
            Trace(keys[graph.img_id], len(graph.requirements), setting.turns, points_of(episode))
            for graph, episode in zip(missing, episodes, strict=True)
        )

    def _start(self, graph: SceneGraph, steps: int) -> Key:
        return start_key(self.phase, self.prompts, graph.img_id, steps)

    def _states(self, wanted: Sequence[tuple[SceneGraph, int]], steps: int) -> list[State]:
        """The drawings of these numbers, checked."""
        new = [(graph, k) for graph, k in wanted if (graph.img_id, steps, k) not in self._drawn]
        if new:
            seeds = [derive_seed(EVALUATION_SEED, "draw" if k == 0 else f"draw {k}", graph.img_id) for graph, k in new]
            images = self.cast.diffuser.draw([graph.prompt for graph, _ in new], seeds, steps)
            found = self.cast.checker.satisfaction(images, [graph.requirements for graph, _ in new])
            for (graph, k), image, satisfaction, seed in zip(new, images, found, seeds, strict=True):
                self._drawn[graph.img_id, steps, k] = State(graph, image, satisfaction, seed)
        return [self._drawn[graph.img_id, steps, k] for graph, k in wanted]
