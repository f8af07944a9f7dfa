"""The dialogue with a VLM that was not made for this loop: plain English, and two labelled lines as the answer."""

from __future__ import annotations

import re

from scenes.dialogue import Reflection
from scenes.dialogues.free_answer import read_free_answer
from scenes.dialogues.texts import Texts
from scenes.kinds.kinds import Attribute, FreeQuestion
from scenes.scene_graph import AnyRequirement, Requirement

SYSTEM = (
    "You look at a picture that should meet a list of requirements and does not meet all of them yet. You say what is "
    "wrong, and you write one instruction for an image editor that makes the picture meet more of them. The editor "
    "sees the picture and your instruction, and nothing else."
)
_NUMBERED = re.compile(r"(?P<name>.*\S) (?P<number>[1-9]\d*)")
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")


class General:
    """See the module. A requirement keeps its own words, but for items of one name, which `shown` tells apart.

    Args:
        texts: its words.
        tell_unmet: whether requests say which requirements are unmet.
    """

    system = SYSTEM

    def __init__(self, texts: Texts | None = None, tell_unmet: bool = True) -> None:
        self._texts, self._tells = texts or Texts(), tell_unmet
        self._example = Reflection(self._texts.reflection, self._texts.edit)

    def request(self, requirements: tuple[AnyRequirement, ...], unmet: tuple[AnyRequirement, ...]) -> str:
        lines = [f"{number}. {sentence(one)}" for number, one in enumerate(requirements, 1)]
        open_ = [str(number) for number, one in enumerate(requirements, 1) if one in unmet]
        return self._texts.request.format(
            requirements="\n".join(lines),
            unmet=(", ".join(open_) or "none") if self._tells else self._texts.untold,
            reflection=self._example.reflection,
            edit=self._example.edit_prompt,
        )

    def question(self, requirement: AnyRequirement) -> str:
        if isinstance(requirement, FreeQuestion):
            return self._texts.free_question.format(question=requirement.question)
        return self._texts.question.format(requirement=sentence(requirement))

    def read(self, answer: str) -> Reflection:
        return read_free_answer(answer, self._example)


def sentence(requirement: AnyRequirement) -> str:
    """A requirement in words that a picture can show."""
    if isinstance(requirement, Requirement):
        return f"{shown(requirement.subject)} {requirement.predicate} {shown(requirement.object)}"
    if all(shown(name) == name for name in requirement.items):
        return requirement.statement
    named = ", ".join(map(shown, requirement.items))
    return f"{named} is {requirement.attribute}" if isinstance(requirement, Attribute) else f"the picture shows {named}"


def shown(name: str) -> str:
    """An item's name; `white cat 2`, which a scene graph calls the second of its white cats, is `the second white cat
    (from the left)`."""
    match = _NUMBERED.fullmatch(name)
    if match is None:
        return name
    number = int(match["number"])
    ordinal = _ORDINALS[number - 1] if number <= len(_ORDINALS) else f"{number}{_ending(number)}"
    return f"the {ordinal} {match['name']} (from the left)"


def _ending(number: int) -> str:
    return "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
