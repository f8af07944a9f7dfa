"""Reads requirements that are no relations: `a red fox`, `two foxes`, `the table is wooden`, `? Is the fox asleep?`."""

from __future__ import annotations

import re
from dataclasses import replace

from scenes.kinds.kinds import (
    LONGEST_ATTRIBUTE,
    LONGEST_QUESTION,
    Attribute,
    FreeQuestion,
    Other,
    Presence,
    read_count,
)
from scenes.plain_text import plain_text
from scenes.vocabulary.words import check_words, name_of
from scenes.wording.phrasing import ARTICLE, LEAD_IN, PRONOUNS

_QUESTION = re.compile(r"(?:^|(?<=[;；\n]))[^\S\n]*(?:(?:[-*+•]|\d{1,3}[.)])[^\S\n]+)?[?？]([^;；\n]*)")
_IS = re.compile(r"\s+(?:is|are|should be|must be)\s+", re.IGNORECASE)
_NOT_IN_ATTRIBUTES = frozenset({"is", "are", "or", *PRONOUNS})
_ALSO_IN_QUESTIONS = ',.?!:()%"“”'


def without_questions(text: str) -> tuple[str, list[FreeQuestion], list[tuple[str, str]]]:
    """A text without the parts that begin with `?`, the questions that these are, and those that are none, with the
    reason."""
    questions: list[FreeQuestion] = []
    unread: list[tuple[str, str]] = []

    def take(match: re.Match[str]) -> str:
        said = plain_text(match[1])
        try:
            questions.append(question_of(said))
        except ValueError as error:
            unread.append((f"? {said}", str(error)))
        return ""

    return _QUESTION.sub(take, text), questions, unread


def question_of(words: str) -> FreeQuestion:
    """A question that yes or no answers.

    Raises:
        ValueError: there is none in it, or it is too long, or has marks that a question needs not.
    """
    asked = words.strip("?？ ")
    if not any(map(str.isalpha, asked)):
        raise ValueError("no question follows; write for example ? Is the fox asleep?")
    check_words(asked, "question", LONGEST_QUESTION, _ALSO_IN_QUESTIONS)
    return FreeQuestion(f"{asked}?")


def counts(words: str) -> bool:
    """Whether words begin as a count does."""
    try:
        return read_count(words) is not None
    except ValueError:
        return True


def other_kind(clause: str, alone: bool) -> Other | None:
    """The requirement of a clause without relation and without polite words; None where it has no such form.

    Args:
        alone: whether its sentence has no relation. Where it has one, only an attribute is read.

    Raises:
        ValueError: it has the form, and names no item.
    """
    if (verb := _IS.search(clause)) is not None:
        said = f"{verb[0].strip()!r}"
        item = name_of(clause[: verb.start()], f"before {said}")
        return Attribute(item, _attribute(clause[verb.end() :], said))
    if not alone:
        return None
    count = read_count(clause) or read_count(LEAD_IN.sub("", clause))
    if count is not None:
        return replace(count, item=name_of(count.item, "after the number"))
    return Presence(name_of(clause, "in it")) if ARTICLE.match(clause) else None


def _attribute(words: str, verb: str) -> str:
    words = words.strip()
    if not words:
        raise ValueError(f"no attribute follows {verb}")
    if joined := _NOT_IN_ATTRIBUTES & set(words.lower().split()):
        raise ValueError(f"{words!r} is not one attribute because of {min(joined)!r}; write one requirement for each")
    check_words(words, "attribute", LONGEST_ATTRIBUTE)
    return words
