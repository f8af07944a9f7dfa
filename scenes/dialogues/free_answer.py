"""Reading a reflection and an edit prompt out of what a general model wrote: labelled lines or JSON, in any dress."""

from __future__ import annotations

import re

from scenes.dialogue import Reflection, UnparsableAnswer
from scenes.json_answers import LONGEST, UnreadableAnswer, read_objects, without_thinking

_REFLECTION = "reflection|reflexion|reasoning|observation|analysis|problem"
_EDIT = "edit(?:ing)?(?:[ _-]?(?:prompt|instruction))?|instruction"
# What may stand before a label: list marks, quotation marks and Markdown; around it: emphasis; after it: a colon.
_LABEL = re.compile(
    rf"^[ \t>#*_`~\-•–]*(?:\d{{1,2}}[.)][ \t]*)?[*_`\"'“]*(?P<label>(?P<edit>{_EDIT})|{_REFLECTION})[*_`\"'”]*"
    r"[ \t]*[:：﹕︰꞉ː][*_`]*[ \t]*",
    re.IGNORECASE | re.MULTILINE,
)
_FENCE = re.compile(r"^[ \t]*(?:```|~~~).*$", re.MULTILINE)
_DRESS = " \t\n*_`~\"'“”‘’«»„"
_NOT_WORDS = re.compile(r"[\W\d_]+")
_PLACEHOLDER = re.compile(r"<[^<>]*>|\[[^\[\]]*\]|\{[^{}]*\}|…|\.\.\.")


def read_free_answer(answer: str, example: Reflection) -> Reflection:
    """The last reflection and edit prompt of an answer: of its JSON object, or of its lines `Reflection: …` and
    `Edit: …`, which may go on over several lines. A chain of thought before `</think>`, code fences and Markdown are
    left out.

    Args:
        example: what the request gave as an example; an answer that repeats it says nothing.

    Raises:
        UnparsableAnswer: one of the two is missing, empty, a placeholder or the example's; or the answer ends within
            its thoughts.
    """
    if len(answer) > LONGEST:
        raise UnparsableAnswer(f"the answer is longer than {LONGEST} characters", "too long")
    text = _FENCE.sub("", without_thinking(answer))
    if text.lstrip().startswith("<think>"):
        raise UnparsableAnswer("the answer ends within its thoughts", "ends within its thoughts")
    if not text.strip():
        raise UnparsableAnswer("the answer is empty", "empty")
    found = _of_json(text) or _of_lines(text)
    reflection, edit = (_plain(found.get(key, "")) for key in ("reflection", "edit"))
    for name, value in (("edit", edit), ("reflection", reflection)):
        if not _says_something(value):
            said = " ".join(answer.split())[:120]
            raise UnparsableAnswer(f"the answer has no {name}: {said!r}", f"no {name}")
    if _same(edit, example.edit_prompt) or _same(reflection, example.reflection):
        raise UnparsableAnswer("the answer repeats the example", "repeats the example")
    return Reflection(reflection, edit)


def _of_json(text: str) -> dict[str, str]:
    if "{" not in text:
        return {}
    try:
        objects = read_objects(text)
    except UnreadableAnswer:
        return {}
    for one in reversed(objects):
        found: dict[str, str] = {}
        for key, value in one.items():
            match = re.fullmatch(rf"(?P<edit>{_EDIT})|{_REFLECTION}", key.strip(), re.IGNORECASE)
            if match and isinstance(value, str):
                found["edit" if match["edit"] else "reflection"] = value
        if len(found) == 2:
            return found
    return {}


def _of_lines(text: str) -> dict[str, str]:
    """The last edit that something follows, with the reflection that is nearest before it, or after it."""
    labels = list(_LABEL.finditer(text))
    if not labels:
        return {}
    ends = [label.start() for label in labels[1:]] + [len(text)]
    parts = [
        ("edit" if label["edit"] else "reflection", text[label.end() : end])
        for label, end in zip(labels, ends, strict=True)
    ]
    edits = [index for index, (kind, value) in enumerate(parts) if kind == "edit" and _says_something(_plain(value))]
    if not edits:
        return {kind: value for kind, value in parts if kind == "reflection"}
    at = edits[-1]
    reflections = [value for kind, value in (*reversed(parts[:at]), *parts[at + 1 :]) if kind == "reflection"]
    return {"edit": _first_paragraph(parts[at][1]), **({"reflection": reflections[0]} if reflections else {})}


def _first_paragraph(text: str) -> str:
    """What follows an empty line is no instruction to the editor any more."""
    return re.split(r"\n[ \t]*\n", text.strip(), maxsplit=1)[0]


def _plain(text: str) -> str:
    return " ".join(text.strip(_DRESS).split()).strip(_DRESS)


def _says_something(text: str) -> bool:
    return any(map(str.isalpha, _PLACEHOLDER.sub("", text)))


def _same(one: str, other: str) -> bool:
    return _NOT_WORDS.sub("", one).casefold() == _NOT_WORDS.sub("", other).casefold()
