import asyncio
import time
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rollout.episode import play
from rollout.seeds import derive_seed
from scenes.dialogue import Reflection
from scenes.scene_graph import parse_prompt
from scenes.shape_world import PREDICATES
from serving.gateway import row_calls
from serving.gateway.batch_queue import Batching
from serving.gateway.episode_batch import EpisodeBatch
from serving.gateway.episode_service import EpisodeService, Line
from serving.gateway.gateway_metrics import GatewayMetrics
from serving.gateway.role import Role
from serving.gateway.service import Ask, Finished, TurnReady, TurnTimeout
from serving.gateway.version_gate import VersionGate
from serving.generation import Answer
from serving.own_checker import OwnChecker
from serving.vlm_checker import Checker
from tests.rollout.scripted_models import ScriptedModels, picture
from tests.serving.gateway.scripted_deployments import ScriptedHandle

GRAPH = parse_prompt("red circle left of blue square; red circle above green star", PREDICATES)
ALONE = Batching(max_batch=1, at_once=64)
TEXT = Reflection("red circle right of blue square", "move red circle left of blue square").text


class Scripted:
    """A service whose roles answer as `ScriptedModels` do; `hooks` are awaited before a role answers."""

    def __init__(
        self, versions: tuple[int, int] = (0, 0), turn_deadline_s: float = 5.0, checks: Any = None, **models: Any
    ) -> None:
        self.models = ScriptedModels(**models)
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
            image_size=64,
            max_tokens=48,
            checks=checks or Checker(SimpleNamespace(role="checker")),
            call_deadline_s=5.0,
            turn_deadline_s=turn_deadline_s,
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
        (held,) = self.models.checker.satisfaction(batch.images, [batch.questions])
        return [[_yes_or_no(value)] for value in held], 0.1

    async def _reflect(self, batch: Any) -> tuple[list[list[Answer]], float]:
        await self._before("reflect", batch)
        question = batch.questions[0]
        asked = (batch.images, [question.text], batch.sampling.temperature, [question.seed])
        ((found,),) = self.models.actor.reflect(*asked)
        return [[Answer(found.reflection.text, [1], [-0.1], True, self.versions["actor"])]], 0.1


def _yes_or_no(probability: float) -> Answer:
    yes = np.log(max(probability, 1e-9))
    no = np.log(max(1 - probability, 1e-9))
    words = {"yes": yes, "Yes": -50.0, "no": no, "No": -50.0}
    return Answer("yes" if probability >= 0.5 else "no", [1], [yes], True, 0, words)


def ask(seed: int = 3, turns: int = 3, image: np.ndarray | None = None) -> Ask:
    return Ask(GRAPH, seed, turns, "rlrig", image)


async def all_of(service: EpisodeService, asked: Ask) -> list[TurnReady | Finished]:
    return [event async for event in service.episode(asked)]


def test_a_checker_of_the_users_judges_instead_of_the_vlm() -> None:
    def bright(images: Any, requirements: Any, ask: Any) -> list[list[float]]:
        return [[image[0, 0, 0] / 255] * len(wanted) for image, wanted in zip(images, requirements, strict=True)]

    scripted = Scripted(checks=OwnChecker("m:bright", bright, SimpleNamespace(satisfaction=None)))
    *turns, finished = asyncio.run(all_of(scripted.service, ask(seed=5)))
    assert len(turns) > 1
    for turn in turns:
        assert turn.frame.satisfaction == [turn.frame.image[0, 0, 0] / 255] * 2
    assert isinstance(finished, Finished)
    assert [name for name, _ in scripted.service._checker.handle.calls] == []


def test_a_checker_of_the_users_has_the_time_of_a_turn() -> None:
    own = OwnChecker("m:slow", lambda *_: time.sleep(0.6) or [[1.0, 1.0]], SimpleNamespace(satisfaction=None))
    with pytest.raises(TurnTimeout, match="the checker did not answer within the time that a turn may take"):
        asyncio.run(all_of(Scripted(checks=own, turn_deadline_s=0.2).service, ask()))


def test_an_episode_is_that_of_generate_with_the_same_prompt_and_seed() -> None:
    scripted = Scripted(threshold=160, first=10, spread=20)
    *turns, finished = asyncio.run(all_of(scripted.service, ask(seed=5)))
    expected = play(ScriptedModels(threshold=160, first=10, spread=20), [GRAPH], derive_seed(5, "generate"), 3)[0]
    assert [turn.index for turn in turns] == list(range(len(expected.frames)))
    assert [(t.frame.seed, t.frame.kept, t.frame.image[0, 0, 0]) for t in turns] == [
        (frame.seed, frame.kept, frame.image[0, 0, 0]) for frame in expected.frames
    ]
    np.testing.assert_allclose(
        [t.frame.satisfaction for t in turns], [f.satisfaction for f in expected.frames], atol=1e-6
    )
    assert finished.episode.frames == [turn.frame for turn in turns]
    assert set(finished.seconds) == {"wait", "draw", "check", "reflect", "edit"}


def test_the_versions_on_disk_have_the_names_that_were_given() -> None:
    (*_, finished) = asyncio.run(all_of(Scripted().service, ask()))
    assert finished.versions == {"actor": 16, "editor": 8}
    scripted = Scripted(versions=(20, 0))
    (*_, finished) = asyncio.run(all_of(scripted.service, ask()))
    assert finished.versions == {"actor": 20, "editor": 8}
    (model,) = scripted.service.models()
    assert (model.id, model.versions) == ("rlrig", {"actor": 20, "editor": 8})


def test_an_image_that_was_brought_along_is_where_the_episode_begins() -> None:
    scripted = Scripted()
    first, *_ = asyncio.run(all_of(scripted.service, ask(image=picture(77))))
    assert first.frame.image[0, 0, 0] == 77
    assert first.frame.seed is None
    assert scripted.models.diffuser.compute_seconds == 0


def test_a_frame_comes_before_the_next_one_is_begun() -> None:
    async def go() -> None:
        scripted, go_on = Scripted(), asyncio.Event()

        async def wait(*_: Any) -> None:
            await go_on.wait()

        scripted.hooks["reflect"] = wait
        events = scripted.service.episode(ask(turns=1))
        async with asyncio.timeout(2):
            first = await anext(events)
        assert isinstance(first, TurnReady)
        assert first.index == 0
        go_on.set()
        rest = [event async for event in events]
        assert isinstance(rest[-1], Finished)

    asyncio.run(go())


def test_one_request_waits_for_no_round_of_another() -> None:
    async def go() -> None:
        scripted, never = Scripted(), asyncio.Event()

        async def hold_the_first(batch: Any) -> None:
            if len(scripted.models.asked) == 0 and scripted.service.under_way == 1:
                await never.wait()

        scripted.hooks["reflect"] = hold_the_first
        held = asyncio.create_task(all_of(scripted.service, ask(seed=1)))
        await asyncio.sleep(0.02)
        async with asyncio.timeout(2):
            (*_, finished) = await all_of(scripted.service, ask(seed=2))
        assert isinstance(finished, Finished)
        assert not held.done()
        never.set()
        (*_, finished) = await held
        assert isinstance(finished, Finished)

    asyncio.run(go())


@pytest.mark.parametrize("role", ["draw", "check", "reflect", "edit"])
def test_closing_an_episode_ends_what_works_for_it(role: str) -> None:
    async def go() -> None:
        scripted, cancelled, begun = Scripted(), asyncio.Event(), asyncio.Event()

        async def hang(*_: Any) -> None:
            begun.set()
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                cancelled.set()
                raise

        scripted.hooks[role] = hang
        taking = asyncio.create_task(all_of(scripted.service, ask()))
        async with asyncio.timeout(2):
            await begun.wait()
        assert scripted.service.under_way == 1
        taking.cancel()
        await asyncio.gather(taking, return_exceptions=True)
        async with asyncio.timeout(2):
            await cancelled.wait()
            async with scripted.gate.update("actor", 1):  # nothing is inside any more
                assert scripted.service.under_way == 0

    asyncio.run(go())


def test_each_turn_has_its_own_time() -> None:
    async def go() -> None:
        scripted = Scripted(turn_deadline_s=0.3, threshold=254)

        async def pause(*_: Any) -> None:
            await asyncio.sleep(0.12)

        scripted.hooks["reflect"] = pause
        (*_, finished) = await all_of(scripted.service, ask(turns=4))  # 0.48 s in all
        assert finished.seconds["reflect"] > 0.4

        async def hang(*_: Any) -> None:
            await asyncio.sleep(60)

        scripted.hooks["edit"] = hang
        with pytest.raises(TurnTimeout, match="editor"):
            await all_of(scripted.service, ask(turns=4))
        assert scripted.service.under_way == 0

    asyncio.run(go())


def test_an_answer_of_a_replica_with_other_weights_is_asked_for_again() -> None:
    async def go() -> None:
        scripted = Scripted(versions=(2, 2))
        scripted.versions["editor"] = 1

        async def heal(*_: Any) -> None:
            if scripted.repaired:
                scripted.versions["editor"] = 2

        scripted.hooks["edit"] = heal
        (*_, finished) = await all_of(scripted.service, ask(turns=1))
        assert scripted.repaired == ["editor"]
        assert scripted.service.lost["editor"] == 1
        assert finished.versions == {"actor": 2, "editor": 2}

    asyncio.run(go())


def test_all_images_of_a_request_are_made_by_one_version_while_weights_are_replaced() -> None:
    async def go() -> list[set[tuple[int, int]]]:
        scripted, asking = Scripted(versions=(1, 1)), True

        async def pause(*_: Any) -> None:
            await asyncio.sleep(0.003)

        scripted.hooks["check"] = pause

        async def replace_again_and_again() -> None:
            while asking:
                version = scripted.versions["editor"] + 1
                async with scripted.gate.update("editor", version):
                    await asyncio.sleep(0.002)
                    scripted.versions["editor"] = version
                await asyncio.sleep(0.003)

        async def request(number: int) -> set[tuple[int, int]]:
            asks = [ask(seed=number + item, turns=1) for item in range(4)]
            batch, found = EpisodeBatch(scripted.service, asks, GatewayMetrics(), 5.0), set()
            while batch.open:
                event = (await batch.next()).event
                if isinstance(event, Finished):
                    found.add((event.versions["actor"], event.versions["editor"]))
            await batch.close()
            return found

        async def client(number: int) -> list[set[tuple[int, int]]]:
            return [await request(10 * number + again) for again in range(10)]

        replacing = asyncio.create_task(replace_again_and_again())
        found = [versions for one in await asyncio.gather(*(client(number) for number in range(4))) for versions in one]
        asking = False
        await replacing
        assert scripted.service.lost["editor"] == 0
        return found

    found = asyncio.run(go())
    assert [len(versions) for versions in found] == [1] * 40
    assert len(set().union(*found)) > 3
