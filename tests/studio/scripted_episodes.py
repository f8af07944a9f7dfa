"""An episode service whose models answer by script."""

from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from scenes.dialogue import Reflection
from scenes.dialogues.dialogue import SHAPES, Dialogue
from scenes.pictures.size import PictureSize
from scenes.scene_graph import parse_prompt
from scenes.shape_world import PREDICATES
from serving.batch_queue import Batching
from serving.checker import Checker
from serving.generation import Answer
from studio.episodes import row_calls
from studio.episodes.episode_service import EpisodeService, Line
from studio.episodes.role import Role
from studio.episodes.service import Ask, Finished, TurnReady
from studio.episodes.version_gate import VersionGate
from tests.rollout.scripted_models import ScriptedModels
from tests.studio.scripted_deployments import ScriptedHandle

GRAPH = parse_prompt("red circle left of blue square; red circle above green star", PREDICATES)
ALONE = Batching(max_batch=1, at_once=64)
TEXT = Reflection("red circle right of blue square", "move red circle left of blue square").text


class Scripted:
    """A service whose roles answer as `ScriptedModels` do; `hooks` are awaited before a role answers."""

    def __init__(
        self,
        versions: tuple[int, int] = (0, 0),
        turn_deadline_s: float = 5.0,
        checks: Any = None,
        dialogue: Dialogue = SHAPES,
        status: Callable[[list[str]], dict[str, str]] = lambda names: dict.fromkeys(names, ""),
        drawings: int = 1,
        **models: Any,
    ) -> None:
        self.models = ScriptedModels(**models)
        self.judge: Callable[[str], float] | None = None  # what the Checker says to a question, instead of the models'
        self.hooks: dict[str, Callable[..., Awaitable[None]]] = {}
        self.versions = {"actor": versions[0], "editor": versions[1]}
        self.repaired: list[str] = []
        self.gate = VersionGate({"actor": versions[0], "editor": versions[1]}, 5.0)
        checker = Role("checker", ScriptedHandle(generate_batch=self._check), row_calls.generate, ALONE)
        actor = Role("actor", ScriptedHandle(generate_batch=self._reflect), row_calls.generate, ALONE)
        editor = Role("editor", ScriptedHandle(edit=self._edit), row_calls.edit, ALONE)
        line = Line(actor, editor, self.gate, {"actor": 16, "editor": 8})
        self.service = EpisodeService(
            Role("diffuser", ScriptedHandle(draw=self._draw), row_calls.draw, ALONE),
            checker,
            {"rlrig": line},
            image_size=PictureSize(64, 64),
            max_tokens=48,
            checks=checks or Checker(SimpleNamespace(role="checker"), dialogue),
            dialogue=dialogue,
            drawings=drawings,
            call_deadline_s=5.0,
            turn_deadline_s=turn_deadline_s,
            status=status,
            repair=self.repaired.append,
        )

    async def _before(self, role: str, *arguments: Any) -> None:
        if role in self.hooks:
            await self.hooks[role](*arguments)

    async def _draw(self, prompts: list[str], seeds: list[int]) -> list[np.ndarray]:
        await self._before("draw", prompts[0], seeds[0])
        return self.models.diffuser.draw(prompts, seeds)

    async def _edit(
        self, images: list[np.ndarray], prompts: list[str], seeds: list[int]
    ) -> list[tuple[np.ndarray, int]]:
        await self._before("edit", images[0], prompts[0], seeds[0])
        edits = self.models.editor.edit(images, prompts, seeds)
        return [(edit.image, self.versions["editor"]) for edit in edits]

    async def _check(self, batch: Any) -> tuple[list[list[Answer]], float]:
        await self._before("check", batch)
        if self.judge is not None:
            return [[yes_or_no(self.judge(question.text))] for question in batch.questions], 0.1
        (held,) = self.models.checker.satisfaction(batch.images, [batch.questions])
        return [[yes_or_no(value)] for value in held], 0.1

    async def _reflect(self, batch: Any) -> tuple[list[list[Answer]], float]:
        await self._before("reflect", batch)
        question = batch.questions[0]
        asked = (batch.images, [question.text], batch.sampling.temperature, [question.seed])
        ((found,),) = self.models.actor.reflect(*asked)
        return [[Answer(found.reflection.text, [1], [-0.1], True, self.versions["actor"])]], 0.1


def yes_or_no(probability: float) -> Answer:
    yes = np.log(max(probability, 1e-9))
    no = np.log(max(1 - probability, 1e-9))
    words = {"yes": yes, "Yes": -50.0, "no": no, "No": -50.0}
    return Answer("yes" if probability >= 0.5 else "no", [1], [yes], True, 0, words)


def ask(seed: int = 3, turns: int = 3, image: np.ndarray | None = None) -> Ask:
    return Ask(GRAPH, seed, turns, "rlrig", image)


async def all_of(service: EpisodeService, asked: Ask) -> list[TurnReady | Finished]:
    return [event async for event in service.episode(asked)]
