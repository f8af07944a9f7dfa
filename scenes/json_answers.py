"""Reading JSON objects out of what a language model wrote: in code fences, between sentences, with small faults.

Repaired are single and typographic quotes, trailing commas, Python's True, False and None. Nothing is completed: an
object that is not closed stays unread, as its missing part would otherwise count as not seen.
"""

from __future__ import annotations

import json
import re
from typing import Any

LONGEST = 50_000
"""Characters; a longer answer is one that runs in circles."""

_MOST_STARTS = 50
_CLOSING = {'"': '"', "'": "'", "“": "”", "‘": "’"}
_PYTHON_WORDS = {"True": "true", "False": "false", "None": "null"}
_DECODER = json.JSONDecoder(strict=False)
_WORD = re.compile(r"\w+")
_AFTER_VALUE = re.compile(r"\s*[,:\]}]")


class UnreadableAnswer(ValueError):
    """An answer that does not have the asked-for form. `problem` says what is wrong without repeating the answer."""

    def __init__(self, problem: str, answer: str) -> None:
        shown = " ".join(answer.split())
        super().__init__(f"{problem}; the answer was {shown[:120]!r}")
        self.problem = problem


class _NotClosed(UnreadableAnswer):
    """The answer ends within an object, so that nothing in it can be taken for all of the answer."""


def without_thinking(text: str) -> str:
    """The answer without the part that reasoning models put before `</think>`. What begins with an object has no such
    part: there the word would stand in a name."""
    answer = text.strip()
    return answer if answer.startswith("{") else answer.rpartition("</think>")[2].strip()


def read_objects(text: str) -> list[dict[str, Any]]:
    """All outermost JSON objects of an answer, in their order; at least one.

    Raises:
        UnreadableAnswer: the answer is empty or too long, holds no object that can be read, or ends within one.
    """
    answer = without_thinking(text)
    if not answer:
        raise UnreadableAnswer("the answer is empty", text)
    if len(answer) > LONGEST:
        raise UnreadableAnswer(f"the answer is longer than {LONGEST} characters", text)
    found: list[dict[str, Any]] = []
    problem = "there is no JSON object in the answer"
    position = answer.find("{")
    for _ in range(_MOST_STARTS):
        if position < 0:
            break
        try:
            value, end = _read_at(answer, position)
        except _NotClosed:
            raise
        except UnreadableAnswer as error:
            problem, end = error.problem, position + 1
        else:
            found.append(value)
        position = answer.find("{", end)
    if position >= 0:
        raise UnreadableAnswer(f"there are more than {_MOST_STARTS} objects in the answer", text)
    if not found:
        raise UnreadableAnswer(problem, text)
    return found


def _read_at(answer: str, start: int) -> tuple[dict[str, Any], int]:
    """The object that begins at `start`, and where it ends."""
    try:
        return _DECODER.raw_decode(answer, start)
    except RecursionError as error:
        raise UnreadableAnswer("the JSON object is nested too deeply", answer) from error
    except json.JSONDecodeError:
        repaired, end = _repair(answer, start)
    try:
        return _DECODER.decode(repaired), end
    except RecursionError as error:
        raise UnreadableAnswer("the JSON object is nested too deeply", answer) from error
    except json.JSONDecodeError as error:
        raise UnreadableAnswer(f"the JSON object is broken ({error.msg.lower()})", answer) from error


def _repair(answer: str, start: int) -> tuple[str, int]:
    """The object that begins at `start`, spelled as JSON, and where it ends."""
    parts: list[str] = []
    depth, position = 0, start
    while position < len(answer):
        character = answer[position]
        if character in _CLOSING:
            end = _string_end(answer, position)
            parts.append(json.dumps(_unescape(answer[position + 1 : end]), ensure_ascii=False))
            position = end + 1
            continue
        if word := _WORD.match(answer, position):
            parts.append(_PYTHON_WORDS.get(word[0], word[0]))
            position = word.end()
            continue
        if character in "]}":
            while parts and (parts[-1].isspace() or parts[-1] == ","):
                parts.pop()
        parts.append(character)
        position += 1
        depth += (character in "{[") - (character in "}]")
        if depth == 0:
            return "".join(parts), position
    raise _NotClosed("the JSON object is not closed", answer)


def _string_end(answer: str, start: int) -> int:
    """Where the string that begins at `start` is closed. An apostrophe closes only where a value can end."""
    closing = _CLOSING[answer[start]]
    position = start + 1
    while position < len(answer):
        if answer[position] == "\\":
            position += 2
            continue
        if answer[position] == closing and (closing == '"' or _AFTER_VALUE.match(answer, position + 1)):
            return position
        position += 1
    raise _NotClosed("a string of the JSON object is not closed", answer)


def _unescape(text: str) -> str:
    r"""The text of a string in which `\"` and the like stand for what they name; unknown escapes stay as they are."""
    try:
        plain: str = json.loads('"' + text.replace("\\'", "'").replace("\n", " ") + '"', strict=False)
    except json.JSONDecodeError:
        return text
    return plain
