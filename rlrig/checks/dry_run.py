"""The user's own reward, Checker and data function, called once with something small before anything starts; and the
prompts of a run, read and held against its models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import numpy as np

from presets.errors import BadInput
from rewards.calls import Call
from rewards.trial import try_scorer, try_service
from scenes.dialogue import NO, YES, UnparsableAnswer
from scenes.dialogues.dialogue import Dialogue
from scenes.entry_point import EntryPointError, is_entry_point, load_entry_point
from scenes.scene_graph import parse_prompt
from scenes.shape_world import PREDICATES
from serving.model_folder import BrokenModelFolder
from serving.prompt_limits import single_tokens

if TYPE_CHECKING:
    from presets.run_config import RunConfig
    from rollout.prompts import Prompts
    from scenes.scene_graph import SceneGraph

_EXAMPLE = "red circle left of blue square; green star above red circle"
_MOST_LOOKED_AT = 2000  # prompts


def check_before_start(config: RunConfig, note: Callable[[str], None] = lambda _: None, prompts: bool = True) -> None:
    """Look at what would otherwise fail only when the models run.

    Args:
        note: hears of records that are not used.
        prompts: whether the run reads the prompts of `data`.

    Raises:
        BadInput: own code that does not fit its key, a Checker without words for yes and no, data that cannot be used,
            or prompts of which the models know none.
    """
    check_yes_and_no(config)
    check_own_functions(config)
    if prompts:
        check_prompts(config, note)


def check_yes_and_no(config: RunConfig) -> None:
    """Look for tokens of the Checker that stand for yes and no.

    Raises:
        BadInput: its tokenizer cannot be read, or has none.
    """
    try:
        for word in (YES, NO):
            if single_tokens(config.models.checker, (word, word.capitalize())) == []:
                raise BadInput(
                    f"models.checker: {config.models.checker} has no single token for {word!r}, with which it would "
                    "answer; use another VLM"
                )
    except BrokenModelFolder as error:
        raise BadInput(f"models.checker: {error}") from error


def check_own_functions(config: RunConfig) -> None:
    """Call the user's reward, Checker, dialogue and scorers once, with one small image and two requirements. Scorers
    that are other processes or services are looked at and not called.

    Raises:
        BadInput: one fails, takes longer than `rollout.deadline_s`, or returns something else than it should.
    """
    image, graph = _example(config)
    if is_entry_point(config.rollout.dialogue):
        _call("rollout.dialogue", config, lambda: _talk(config.dialogue, graph))
    if is_entry_point(config.rollout.checker):
        _call("rollout.checker", config, lambda: _judge(config.rollout.checker, image, graph))
    if is_entry_point(config.rollout.reward):
        from rewards.scorers.checker import load_reading

        _call("rollout.reward", config, lambda: load_reading(config.rollout.reward)([0.9, 0.1], image, graph))
    for place, entry in enumerate(config.rewards):
        _call(f"rewards.{place}.scorer", config, partial(try_scorer, entry, config.rollout, image, graph))


def check_services(config: RunConfig) -> None:
    """Ask each service that scores turns, and that the run needs, about two small ones.

    Raises:
        BadInput: it cannot be reached within its `deadline_s`, or its answer cannot be used.
    """
    for place, entry in enumerate(config.rewards):
        if entry.required and (entry.http or entry.endpoint):
            _call(f"rewards.{place}.scorer", config, partial(try_service, entry, config.rollout, *_example(config)))


def _example(config: RunConfig) -> tuple[np.ndarray, SceneGraph]:
    """An image of the run's size, and what it should show."""
    return np.full(config.diffuser.size.shape, 127, np.uint8), parse_prompt(_EXAMPLE, PREDICATES)


def _talk(dialogue: Dialogue, graph: SceneGraph) -> bool:
    wanted = graph.requirements
    texts = [dialogue.request(wanted, wanted[:1]), dialogue.question(wanted[0]), dialogue.system or ""]
    if not all(isinstance(text, str) for text in texts):
        raise TypeError(f"request, question and system are texts; got {[type(text).__name__ for text in texts]}")
    with suppress(UnparsableAnswer):
        dialogue.read("no answer")
    return True


class _HalfSure:
    """A Checker that knows nothing, for own code that asks it."""

    unanswered = 0

    def satisfaction(self, images: Sequence[np.ndarray], requirements: Sequence[Sequence[Any]]) -> list[list[float]]:
        return [[0.5 for _ in wanted] for wanted in requirements]


def _judge(name: str, image: np.ndarray, graph: SceneGraph) -> None:
    from serving.own_checker import OwnChecker

    OwnChecker(name, load_entry_point("rollout.checker", name), _HalfSure()).satisfaction([image], [graph.requirements])


def check_prompts(config: RunConfig, note: Callable[[str], None]) -> Prompts:
    """Read the prompts of a run, and hold them against what its models know.

    Raises:
        BadInput: they cannot be read in time, or the models can take none of them.
    """
    from rollout.prompts import load_prompts

    prompts: Prompts = _call("data.source", config, lambda: load_prompts(config.data, config.seed))
    limits, looked_at = config.prompt_limits, list(islice(chain(prompts.train, prompts.held_out), _MOST_LOOKED_AT))
    refused = [(graph, problem) for graph in looked_at if (problem := limits.refusal(graph)) is not None]
    if refused:
        graph, problem = refused[0]
        what = (
            f"{len(refused)} of {len(looked_at)} prompts are beyond the models, the first {graph.img_id!r}: {problem}"
        )
        if len(refused) == len(looked_at):
            raise BadInput(f"data: {what}")
        note(f"data: {what}")
    return prompts


def _call(key: str, config: RunConfig, function: Callable[[], Any]) -> Any:
    """What a function of the user's returns, called in a thread that is left behind where it takes too long."""
    call: Call[Any] = Call(f"dry run of {key}", function, config.rollout.deadline_s)
    if not call.ended():
        raise BadInput(
            f"{key}: {_name(key, config)!r} is refused: called once with a small example it did not end within "
            f"rollout.deadline_s = {config.rollout.deadline_s:g} s"
        )
    try:
        return call.wait()
    except (BadInput, EntryPointError) as error:
        raise BadInput(str(error)) from error
    except Exception as error:  # whatever it is, the user is told
        raise BadInput(
            f"{key}: {_name(key, config)!r} is refused: called once with a small example it fails with "
            f"{type(error).__name__}: {error}"
        ) from error


def _name(key: str, config: RunConfig) -> str:
    if key.startswith("rewards."):
        return config.rewards[int(key.split(".")[1])].scorer
    return str(config.value_of(key))
