"""All requirements of an image in one question to a VLM, answered as JSON."""

from __future__ import annotations

from collections.abc import Sequence

from scenes.dialogue import NO, YES
from scenes.json_answers import UnreadableAnswer, read_objects
from scenes.scene_graph import AnyRequirement

_WORDS = {YES: True, NO: False, "true": True, "false": False}
_RELATED = (
    "both of its objects are clearly visible, with all of their attributes, and stand in the relation that it says"
)
_SHOWN = "all that it names is clearly visible, and as it says: each object, its attributes, its number, its relation"


def checklist_request(requirements: Sequence[AnyRequirement]) -> str:
    """All requirements of an image in one question."""
    numbered = [f"{number}. {requirement.statement}" for number, requirement in enumerate(requirements, start=1)]
    met = _RELATED if all(one.kind == "relation" for one in requirements) else _SHOWN
    form = ", ".join(f'"{number}": "yes or no"' for number in range(1, len(numbered) + 1))
    return "\n".join(
        [
            f"Compare this picture with the statements below. A statement is met only if {met}.",
            *numbered,
            f"Answer with one JSON object and nothing else, with yes or no for each statement: {{{form}}}",
        ]
    )


def checklist_reminder(problem: str) -> str:
    """What is added to a checklist after an answer that could not be read."""
    return (
        f"An earlier answer could not be used: {problem}. Write nothing but one JSON object that has the number of "
        'each statement as a key and "yes" or "no" as its value.'
    )


def read_checklist(text: str, count: int) -> list[bool]:
    """The answers to `count` numbered statements.

    Raises:
        UnreadableAnswer: no JSON object, a statement without an answer, or an answer that is neither yes nor no.
    """
    found = read_objects(text)[-1]
    if len(found) == 1 and isinstance(inner := next(iter(found.values())), dict):
        found = inner  # {"answers": {"1": "yes"}}
    answers = []
    for number in map(str, range(1, count + 1)):
        if number not in found:
            raise UnreadableAnswer(f"there is no answer to statement {number} of {count}", text)
        word = str(found[number]).strip().rstrip(".").lower()
        if word not in _WORDS:
            raise UnreadableAnswer(f"the answer to statement {number} is neither yes nor no", text)
        answers.append(_WORDS[word])
    return answers
