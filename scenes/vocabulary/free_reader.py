"""Reads prompts with any relation between any items, and with other requirements, for models that know more than the
shape world.

A relation is found by English words (`a red fox on top of a wooden table, a lamp behind the table`), or stands in
square brackets where the words are others (`кот [на] столе`, `fox [leaping over] fence`). Words are kept as they are
written, but for articles, since items of one name are one item. Other requirements are read by `other_kinds`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from scenes.harmless_text import steering
from scenes.plain_text import plain_text
from scenes.requirements_reader import NotUnderstood, graph_of
from scenes.scene_graph import AnyRequirement, Requirement, SceneGraph
from scenes.vocabulary.other_kinds import counts, other_kind, without_questions
from scenes.vocabulary.words import INNER_ARTICLE, check_words, name_of
from scenes.wording.phrasing import (
    ARTICLE,
    JOINS,
    LEAD_IN,
    NEGATIONS,
    PHRASES,
    SENTENCES,
    plain_lines,
    unwrapped,
)
from scenes.wording.relations import RELATION

EXAMPLE = "a red fox on top of a wooden table; a lamp behind the table; the fox [leaping over] a fence"
LONGEST_PROMPT, MOST_REQUIREMENTS = 4000, 128
LONGEST_RELATION = 60
"""Characters."""

_JOINTS = re.compile(r"(,\s*(?:(?:and|while|but)\s+)?|[，、]\s*|\s+(?:and|while|but)\s+)", re.IGNORECASE)
_OTHER_STOPS = str.maketrans({"；": ";", "。": ";", "！": ";", "？": ";"})
_MARKED = re.compile(r"\[([^\[\]]*)\]")
_COPULA = re.compile(r"(?: (?:that|which|who))?(?: (?:is|are|be|should be|must be))*$", re.IGNORECASE)
_ALSO_NOUNS = ("paint", "show", "make")  # lead-ins that begin a name where no article follows: a paint brush
_MEANINGS = {other: name for name, others in PHRASES.items() for other in others}


def read_any(text: str, img_id: str = "prompt") -> SceneGraph:
    """The scene graph that a prompt asks for.

    Raises:
        NotUnderstood: a part is no requirement, it is too long, or it holds a control character.
        Impossible: the requirements cannot hold together.
    """
    if len(text) > LONGEST_PROMPT:
        raise _refused([], [(text[:40] + "…", f"it has {len(text)} characters; write at most {LONGEST_PROMPT}")])
    if found := steering(text):
        raise _refused([], [(found, "it is a control character; take it out")])
    understood, unread = _read(text)
    if not understood and not unread:
        unread.append(("", "it is empty"))
    return _graph(understood, unread, "prompt", img_id)


def _read(text: str) -> tuple[list[AnyRequirement], list[tuple[str, str]]]:
    """The requirements of a text, and the words that are none, with the reason."""
    text, questions, unread = without_questions(text)
    understood: list[AnyRequirement] = []
    for clause, alone in _clauses(text):
        try:
            understood.append(_requirement(clause, alone))
        except ValueError as error:
            unread.append((clause, str(error)))
    return [*understood, *questions], unread


def any_of_parts(parts: Sequence[tuple[str, str, str] | str]) -> SceneGraph:
    """The scene graph of requirements that are given one by one: subject, relation and object apart, or a text of any
    kind. Raises as `read_any`, about `requirements`.
    """
    understood: list[AnyRequirement] = []
    unread: list[tuple[str, str]] = []
    for part in parts:
        words = part if isinstance(part, str) else " ".join(part)
        try:
            if found := steering(words):
                raise ValueError(f"{found!r} is a control character; take it out")
            if isinstance(part, str):
                read, problems = _read(part)
                if not read and not problems:
                    raise ValueError("it is empty")
                understood, unread = understood + read, unread + problems
            else:
                subject, relation, object_ = map(plain_text, part)
                understood.append(_related(subject, relation, object_, exact=True))
        except ValueError as error:
            unread.append((words, str(error)))
    return _graph(understood, unread, "requirements", "prompt")


def _graph(found: list[AnyRequirement], unread: list[tuple[str, str]], field: str, img_id: str) -> SceneGraph:
    if len(found) > MOST_REQUIREMENTS:
        unread = [(found[MOST_REQUIREMENTS].text, f"it is one of {len(found)}; ask for at most {MOST_REQUIREMENTS}")]
    if unread:
        raise _refused(found, unread, field)
    graph = graph_of(found, img_id, field, _MEANINGS)
    texts: dict[str, AnyRequirement] = {}
    for one in graph.requirements:
        other = texts.setdefault(one.text, one)
        if other != one:
            as_ = " / ".join(other.triple) if isinstance(other, Requirement) else f"the {other.kind} {other.text!r}"
            raise _refused(found, [(one.text, f"it reads as {as_} does; say it once")], field)
    return graph


def _refused(found: list[AnyRequirement], unread: list[tuple[str, str]], field: str = "prompt") -> NotUnderstood:
    return NotUnderstood(found, unread, EXAMPLE, field)


def _clauses(text: str) -> list[tuple[str, bool]]:
    """The parts that should hold one requirement each, and whether its sentence has no relation. Commas part them; an
    `and` does where a relation stands on both sides, or an article follows it: in `a black and white cat`, it stands
    inside a name. Where there is no relation, a number parts as an article does."""
    clauses: list[tuple[str, bool]] = []
    for sentence in SENTENCES.split(plain_lines(text.translate(_OTHER_STOPS))):
        sentence = " ".join(sentence.replace('"', " ").split())
        joints = [joint for joint in _JOINTS.finditer(sentence) if not _in_mark(sentence, joint.start())]
        starts, ends = [0, *(one.end() for one in joints)], [*(one.start() for one in joints), len(sentence)]
        pieces = [sentence[start:end] for start, end in zip(starts, ends, strict=True)]
        related = [_has_relation(piece) for piece in pieces]
        alone = not any(related)
        current, relates = pieces[0], related[0]
        for joint, piece, too in zip(joints, pieces[1:], related[1:], strict=True):
            inside = joint[0].strip().lower() == "and" and not ARTICLE.match(piece) and not (alone and counts(piece))
            if inside and not (relates and too):
                current, relates = current + joint[0] + piece, relates or too
            else:
                clauses.append((current, alone))
                current, relates = piece, too
        clauses.append((current, alone))
    return [(clause, alone) for words, alone in clauses if (clause := unwrapped(words))]


def _in_mark(sentence: str, place: int) -> bool:
    return sentence.count("[", 0, place) > sentence.count("]", 0, place)


def _has_relation(piece: str) -> bool:
    return bool(_MARKED.search(piece) or _found(piece) or _by_articles(piece))


def _found(clause: str) -> list[re.Match[str]]:
    """The relations in a clause by English words. One that nothing stands before is part of a name: `reading lamp`."""
    return [one for one in RELATION.finditer(clause) if ARTICLE.sub("", clause[: one.start()])]


def _by_articles(clause: str) -> tuple[str, str, str] | None:
    """Subject, verb and object of `a girl hugs a bear`: the verb is the word before the second and last article."""
    inner = list(INNER_ARTICLE.finditer(clause))
    if not ARTICLE.match(clause) or len(inner) != 1:
        return None
    *subject, verb = clause[: inner[0].start()].split()
    if len(subject) < 2 or not verb.isalpha() or verb.lower() in JOINS:
        return None
    return " ".join(subject), verb, clause[inner[0].start() :].strip()


def _requirement(clause: str, alone: bool) -> AnyRequirement:
    """The one requirement of a clause.

    Args:
        alone: whether its sentence has no relation. Where it has one, `a cat` beside it may be a part of that: in `a
            cat and a dog on a sofa`, nothing says that the cat is not on it.

    Raises:
        ValueError: why it is none.
    """
    if "[" in clause or "]" in clause:
        marks = list(_MARKED.finditer(clause))
        if len(marks) != 1 or clause.count("[") + clause.count("]") != 2:
            raise ValueError("it has not one relation in brackets; write one, as in fox [leaping over] fence")
        subject, object_ = clause[: marks[0].start()], clause[marks[0].end() :]
        return _related(subject, marks[0][1].strip(), object_, exact=True)
    if negations := NEGATIONS & set(clause.lower().split()):
        raise ValueError(f"{min(negations)!r} cannot be required; say what should hold instead")
    clause = _without_lead_in(clause)
    found, parts = _found(clause), _by_articles(clause)
    if not found and not parts and (other := other_kind(clause, alone)) is not None:
        return other
    relations = found or list(RELATION.finditer(clause))
    if len(relations) > 1:
        named = ", ".join(repr(one[0]) for one in relations)
        raise ValueError(
            f"it has {len(relations)} relations, {named}; write one requirement for each, with ';' between"
        )
    if relations:
        before, after = clause[: relations[0].start()], clause[relations[0].end() :]
        return _related(_COPULA.sub("", f" {before.strip()}"), relations[0][0], after, exact=False)
    if parts:
        return _related(*parts, exact=False)
    if not alone:
        raise ValueError(
            "no relation is known in it, as in the rest of its sentence; say where it is, or put ';' between"
        )
    raise ValueError(
        "no relation is known in it; put it in brackets, as in fox [leaping over] fence, or ask for 'a red fox', "
        "'two foxes', 'the fox is red', '? Is the fox asleep?'"
    )


def _without_lead_in(clause: str) -> str:
    rest = LEAD_IN.sub("", clause)
    said = clause[: len(clause) - len(rest)].strip().lower()
    return clause if said in _ALSO_NOUNS and not ARTICLE.match(rest) else rest


def _related(subject: str, relation: str, object_: str, exact: bool) -> Requirement:
    """A requirement of three parts.

    Args:
        exact: whether somebody has said where each part begins and ends.

    Raises:
        ValueError: why they are none.
    """
    if not relation:
        raise ValueError("it has no relation")
    check_words(relation, "relation", LONGEST_RELATION)
    if negations := NEGATIONS & set(relation.lower().split()):
        raise ValueError(f"{min(negations)!r} cannot be required; say what should hold instead")
    names = name_of(subject, f"before {relation!r}", exact), name_of(object_, f"after {relation!r}", exact)
    if names[0].lower() == names[1].lower():
        raise ValueError(f"it relates {names[0]!r} to itself; name two items")
    return Requirement(names[0], relation, names[1])
