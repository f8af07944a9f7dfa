import asyncio
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rollout.episode import play
from rollout.seeds import derive_seed
from scenes.dialogues.general import General
from scenes.vocabulary.vocabulary import ANY_RELATION
from serving.own_checker import OwnChecker
from studio.episodes.batch import EpisodeBatch
from studio.episodes.metrics import GatewayMetrics
from studio.episodes.service import Finished, TurnReady, TurnTimeout
from tests.rollout.scripted_models import Lottery, ScriptedModels, picture
from tests.studio.scripted_episodes import GRAPH, Scripted, all_of, ask


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


def test_of_several_drawings_the_same_one_goes_on_as_in_generate() -> None:
    changed = 0
    for seed in range(6):
        scripted = Scripted(drawings=3)
        scripted.models = Lottery(threshold=100)
        first, *_ = asyncio.run(all_of(scripted.service, ask(seed=seed)))
        (expected,) = play(Lottery(threshold=100), [GRAPH], derive_seed(seed, "generate"), 3, drawings=3)
        assert isinstance(first, TurnReady)
        assert first.frame.seed == expected.frames[0].seed
        changed += first.frame.seed != scripted.models.drawn[0][0]
    assert changed > 0


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


def test_relations_beyond_the_shape_world_are_judged_by_the_checker_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def extract(image: np.ndarray) -> None:
        raise AssertionError("the exact extractor knows nothing of such pictures")

    for place in ("scenes.extractors.extract", "rewards.truth.extract"):
        monkeypatch.setattr(place, extract)
    scripted = Scripted(dialogue=General())
    graph = ANY_RELATION.read("a red fox on top of a wooden table, a lamp behind the table")
    questions: list[str] = []

    def judge(question: str) -> float:
        questions.append(question)
        return 0.75 if "fox" in question else 0.25

    scripted.judge = judge
    first, finished = asyncio.run(all_of(scripted.service, replace(ask(turns=0), graph=graph)))
    assert questions == [
        "Look at the picture. Is this true: red fox on top of wooden table? Answer with yes or no.",
        "Look at the picture. Is this true: lamp behind table? Answer with yes or no.",
    ]
    assert isinstance(first, TurnReady)
    assert first.frame.satisfaction == pytest.approx([0.75, 0.25])
    assert isinstance(finished, Finished)
    assert finished.episode.graph.prompt == "red fox on top of wooden table; lamp behind table"


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


def test_a_role_is_as_ready_as_the_application_that_it_shares_with_another() -> None:
    asked: list[list[str]] = []

    def status(names: list[str]) -> dict[str, str]:
        asked.append(names)
        return {name: "" if name != "checker" else "it is not deployed" for name in names}

    apart = Scripted(status=status)
    assert asyncio.run(apart.service.ready())["checker"] == "it is not deployed"
    shared = Scripted(status=status)
    shared.service._checker.application = "actor"  # one VLM is Actor and Checker
    assert asyncio.run(shared.service.ready()) == dict.fromkeys(("diffuser", "checker", "actor", "editor"), "")
    assert asked == [["diffuser", "checker", "actor", "editor"], ["diffuser", "actor", "editor"]]
