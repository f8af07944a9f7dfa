"""The service behind the endpoint: episodes of many users at the same time, over the deployments of the four roles."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rollout.course import Change, Check, Course, Draw, Reflect, Request, course, first_state, given_state
from rollout.seeds import derive_seed
from rollout.state import Episode
from scenes.dialogues.dialogue import SHAPES, Dialogue
from scenes.pictures.size import PictureSize
from scenes.scene_graph import AnyRequirement
from serving import checker as vlm_checker
from serving.actor import ActorAnswer, read_answer
from serving.checker import Checker
from serving.generation import Answer, Batch, Question, Sampling
from serving.own_checker import OwnChecker
from serving.prompts.plain_prompts import SAMPLING, blank
from studio.episodes.instruction import instructed
from studio.episodes.role import Role
from studio.episodes.service import Ask, Finished, ModelInfo, TurnReady, TurnTimeout
from studio.episodes.version_gate import VersionGate

PHASES: dict[type, str] = {Draw: "draw", Check: "check", Reflect: "reflect", Change: "edit"}
_STATUS_S = 1.0  # how long what Serve says of itself holds


@dataclass(frozen=True)
class Line:
    """The two policies behind one model of the endpoint, and the gate that new weights for them pass through.

    Attributes:
        base_versions: by policy, what its weights on disk are called.
    """

    actor: Role
    editor: Role
    gate: VersionGate
    base_versions: Mapping[str, int] = field(default_factory=lambda: {"actor": 0, "editor": 0})

    def named(self, versions: Mapping[str, int]) -> dict[str, int]:
        """The versions as they are shown: replicas call what lies on disk 0."""
        return {policy: version or self.base_versions[policy] for policy, version in versions.items()}


class EpisodeService:
    """Plays each episode as a course of its own, so that none waits for a round of another's; its requests meet those
    of others in the batches of each role. It is a `Service`.

    Args:
        diffuser, checker: roles that all models share.
        lines: by the name of a model.
        image_size: of the images.
        max_tokens: most tokens of one answer of the Actor.
        dialogue: with Actor and Checker.
        drawings: first images at most, of which the Checker chooses.
        checks: reads the Checker's answers; or judges by itself, code of the user's own.
        call_deadline_s: seconds after which a VLM replica that does not answer counts as hanging.
        turn_deadline_s: seconds that one turn may take, and the first image too.
        status: by the name of an application of those that it is given: empty where it can answer, else why not. It
            may wait.
        repair: is called with a policy when one of its replicas answered with other weights than the gate's.
    """

    def __init__(
        self,
        diffuser: Role,
        checker: Role,
        lines: Mapping[str, Line],
        *,
        image_size: PictureSize,
        max_tokens: int,
        checks: Checker | OwnChecker,
        dialogue: Dialogue = SHAPES,
        drawings: int,
        call_deadline_s: float,
        turn_deadline_s: float,
        status: Callable[[list[str]], dict[str, str]],
        repair: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.image_size = image_size
        self._diffuser, self._checker, self._lines = diffuser, checker, dict(lines)
        self._max_tokens, self._checks, self._dialogue = max_tokens, checks, dialogue
        self._drawings = drawings
        self._call_deadline_s, self._turn_deadline_s = call_deadline_s, turn_deadline_s
        self._repair, self._status_of = repair, status
        self._changed = {name: (line.gate.versions, int(time.time())) for name, line in self._lines.items()}
        self._status: tuple[float, dict[str, str]] = (0.0, {})

    @property
    def under_way(self) -> int:
        """How many episodes are inside now."""
        return sum(line.gate.inside for line in self._lines.values())

    @property
    def lost(self) -> dict[str, int]:
        """How many requests lost replicas left unanswered so far, by role."""
        return {role.name: role.lost for role in self._roles()}

    def models(self) -> list[ModelInfo]:
        """See `Service`."""
        found = []
        for name, line in self._lines.items():
            versions, since = self._changed[name]
            if versions != line.gate.versions:
                self._changed[name] = versions, since = line.gate.versions, int(time.time())
            found.append(ModelInfo(name, line.named(versions), since))
        return found

    async def ready(self) -> dict[str, str]:
        """See `Service`; what it says is at most a second old."""
        asked, found = self._status
        if not found or time.monotonic() - asked > _STATUS_S:
            places = {role.name: role.application for role in self._roles()}
            states = await asyncio.to_thread(self._status_of, list(dict.fromkeys(places.values())))
            found = {name: states[place] for name, place in places.items()}
            self._status = time.monotonic(), found
        return dict(found)

    async def say(self, text: str) -> Answer:
        """See `Service`."""
        batch = self._batch(blank(self.image_size), [Question(text, 0, 0)], SAMPLING)
        actor, ends = next(iter(self._lines.values())).actor, time.monotonic() + self._turn_deadline_s
        answer: Answer = (await actor.ask(batch, ends=ends))[0][0]
        return answer

    def _roles(self) -> list[Role]:
        policies = [role for line in self._lines.values() for role in (line.actor, line.editor)]
        return [self._diffuser, self._checker, *policies]

    async def episode(self, ask: Ask) -> AsyncGenerator[TurnReady | Finished, None]:
        """See `Service`. The episode goes on at its own pace, however slowly its frames are taken.

        Raises:
            KeyError: there is no such model.
        """
        events: asyncio.Queue[TurnReady | Finished | None] = asyncio.Queue()
        playing = asyncio.create_task(self._play(ask, self._lines[ask.model], events.put_nowait))
        playing.add_done_callback(lambda _: events.put_nowait(None))
        try:
            while (event := await events.get()) is not None:
                yield event
            playing.result()
        finally:
            playing.cancel()
            await asyncio.gather(playing, return_exceptions=True)  # an error was raised above, or nobody waits for it

    async def _play(self, ask: Ask, line: Line, emit: Callable[[TurnReady | Finished], None]) -> None:
        began = time.monotonic()
        async with line.gate.episode() as versions:
            seconds = {"wait": time.monotonic() - began, **dict.fromkeys(PHASES.values(), 0.0)}
            episode, emitted = Episode(ask.graph), 0
            steps, answer = _course_of(ask, episode, self._dialogue, self._drawings), None
            ends = time.monotonic() + self._turn_deadline_s
            while True:
                try:
                    request = steps.send(answer)
                except StopIteration:
                    request = None
                for index in range(emitted, len(episode.frames)):
                    emit(TurnReady(index, episode.frames[index]))
                emitted = len(episode.frames)
                if request is None:
                    break
                asked = time.monotonic()
                if isinstance(request, Reflect):  # a turn begins
                    ends = asked + self._turn_deadline_s
                answer = await self._answer(request, line, versions, ends)
                seconds[PHASES[type(request)]] += time.monotonic() - asked
        emit(Finished(episode, line.named(versions), seconds))

    async def _answer(self, request: Request, line: Line, versions: Mapping[str, int], ends: float) -> Any:
        match request:
            case Draw(prompt, seed):
                return await self._diffuser.ask(prompt, seed, ends=ends)
            case Check(image, requirements):
                if isinstance(self._checks, OwnChecker):
                    return await _judged(self._checks, image, requirements, ends)
                batch = self._batch(
                    image, vlm_checker.questions_of(requirements, 0, self._dialogue), vlm_checker.SAMPLING
                )
                return self._checks.read(await self._checker.ask(batch, ends=ends))
            case Reflect():
                return await self._reflect(request, line, versions, ends)
            case Change(image, prompt, seed):
                edited, _ = await line.editor.ask(
                    image, prompt, seed, ends=ends,
                    stale=lambda answer: self._is_stale("editor", answer[1], versions),
                )  # fmt: skip
                return edited

    async def _reflect(self, request: Reflect, line: Line, versions: Mapping[str, int], ends: float) -> ActorAnswer:
        sampling = Sampling(temperature=request.temperature, max_tokens=self._max_tokens)
        batch = self._batch(request.image, [Question(request.request, 0, request.seed)], sampling)
        ((answer,),) = await line.actor.ask(
            batch, ends=ends, stale=lambda answers: self._is_stale("actor", answers[0][0].version, versions)
        )
        return read_answer(answer, self._dialogue)

    def _batch(self, image: Any, questions: list[Question], sampling: Sampling) -> Batch:
        return Batch([image], questions, sampling, self._call_deadline_s)

    def _is_stale(self, policy: str, found: int, versions: Mapping[str, int]) -> bool:
        if found == versions[policy]:
            return False
        self._repair(policy)
        return True


async def _judged(
    checker: OwnChecker, image: Any, requirements: tuple[AnyRequirement, ...], ends: float
) -> list[float]:
    """What a checker of the user's says of one image. It runs in a thread, which goes on where time runs out."""
    try:
        async with asyncio.timeout_at(asyncio.get_running_loop().time() + ends - time.monotonic()):
            (found,) = await asyncio.to_thread(checker.satisfaction, [image], [requirements])
    except TimeoutError as error:
        raise TurnTimeout("the checker did not answer within the time that a turn may take") from error
    return found


def _course_of(ask: Ask, episode: Episode, dialogue: Dialogue, drawings: int) -> Course:
    """All requests of an episode. Without an image they are those of `rlrig generate` with the same prompt and seed."""
    seed = derive_seed(ask.seed, "generate")
    if ask.instruction:
        return (yield from instructed(ask, seed, episode))
    if ask.image is None:
        state = yield from first_state(ask.graph, derive_seed(seed, "draw", ask.graph.img_id), dialogue, drawings)
    else:
        state = yield from given_state(ask.graph, ask.image, dialogue)
    return (yield from course(state, seed, ask.turns, episode))
