"""The fixed texts that the VLMs read and write. Pretraining, serving and learning all use these.

Checker:  user `<image>is red circle left of blue square ?`          → assistant `yes` or `no`
Actor:    user `<image>goal : red circle left of blue square ; … . unmet : red circle left of blue square . fix ?`
          → assistant `reflection : red circle right of blue square . edit : move red circle left of blue square .`
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from scenes.scene_graph import AnyRequirement
from scenes.shape_world import PREDICATES

YES, NO = "yes", "no"
_ANSWER = re.compile(r"^\s*reflection : (?P<reflection>[^.\s][^.]*?) \. edit : (?P<edit>[^.\s][^.]*?) \.\s*$")
_MOVE = re.compile(rf"move (?P<subject>.+?) (?P<predicate>{'|'.join(PREDICATES)}) (?P<object>.+)")


class UnparsableAnswer(ValueError):
    """The Actor's answer does not have the dialogue's form. `reason` says in a few words what is wrong; answers are
    counted by it."""

    def __init__(self, message: str, reason: str = "another form") -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class Reflection:
    """What the Actor saw to be wrong and the edit prompt that it gives to the Inverse Diffuser."""

    reflection: str
    edit_prompt: str

    @property
    def text(self) -> str:
        return f"reflection : {self.reflection} . edit : {self.edit_prompt} ."


def checker_question(requirement: AnyRequirement) -> str:
    """The yes/no question for one requirement."""
    if requirement.kind == "relation":
        return f"is {requirement.text} ?"
    return f"is it true that {requirement.statement} ?"


def actor_request(requirements: tuple[AnyRequirement, ...], unmet: tuple[AnyRequirement, ...] | None) -> str:
    """What the Actor is asked: all requirements, then those that the Checker found unmet; None leaves these out."""
    goal = " ; ".join(requirement.text for requirement in requirements)
    if unmet is None:
        return f"goal : {goal} . fix ?"
    missing = " ; ".join(requirement.text for requirement in unmet)
    return f"goal : {goal} . unmet : {missing} . fix ?"


def edit_prompt(subject: str, predicate: str, object_: str) -> str:
    """The instruction that moves `subject` until `subject predicate object_` holds."""
    return f"move {subject} {predicate} {object_}"


def read_move(text: str) -> tuple[str, str, str] | None:
    """Subject, predicate and object of what `edit_prompt` wrote; None for any other text."""
    match = _MOVE.fullmatch(text.strip())
    return None if match is None else (match["subject"], match["predicate"], match["object"])


def parse_answer(text: str) -> Reflection:
    """Read an answer of the Actor.

    Raises:
        UnparsableAnswer: the text has another form.
    """
    match = _ANSWER.match(text)
    if match is None:
        raise UnparsableAnswer(f"the Actor's answer {text!r} is not of the form 'reflection : … . edit : … .'")
    return Reflection(match["reflection"].strip(), match["edit"].strip())
