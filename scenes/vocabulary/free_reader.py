"""Reads prompts with any relation between any items, for models that know more than the shape world.

A relation is found by English words (`a red fox on top of a wooden table, a lamp behind the table`), or stands in
square brackets where the words are others (`кот [на] столе`, `fox [leaping over] fence`). Words are kept as they are
written, but for articles, since items of one name are one item.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from scenes.harmless_text import steering
from scenes.plain_text import plain_text
from scenes.requirements_reader import NotUnderstood, graph_of
from scenes.scene_graph import Requirement, SceneGraph
from scenes.wording.phrasing import (
    ARTICLE,
    JOINS,
    LEAD_IN,
    NEGATIONS,
    PHRASES,
    PRONOUNS,
    SENTENCES,
    plain_lines,
    unwrapped,
)
from scenes.wording.relations import RELATION

EXAMPLE = "a red fox on top of a wooden table; a lamp behind the table; the fox [leaping over] a fence"
LONGEST_PROMPT, MOST_REQUIREMENTS = 4000, 128
LONGEST_NAME, LONGEST_RELATION = 120, 60
"""Characters of a prompt, of an item's name and of a relation."""

_JOINTS = re.compile(r"(,\s*(?:(?:and|while|but)\s+)?|[，、]\s*|\s+(?:and|while|but)\s+)", re.IGNORECASE)
_OTHER_STOPS = str.maketrans({"；": ";", "。": ";", "！": ";", "？": ";"})
_MARKED = re.compile(r"\[([^\[\]]*)\]")
_COPULA = re.compile(r"(?: (?:that|which|who))?(?: (?:is|are|be|should be|must be))*$", re.IGNORECASE)
_ALSO_NOUNS = ("paint", "show", "make")  # lead-ins that begin a name where no article follows: a paint brush
_NOT_IN_NAMES = frozenset({"or", "is", "are"})
_ALSO_IN_WORDS = " '’-&/+"
_INNER_ARTICLE = re.compile(r"(?<!\bof) (?:a|an|the|some) ", re.IGNORECASE)
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
    understood: list[Requirement] = []
    unread: list[tuple[str, str]] = []
    for clause in _clauses(text):
        try:
            understood.append(_requirement(clause))
        except ValueError as error:
            unread.append((clause, str(error)))
    if not understood and not unread:
        unread.append(("", "it is empty"))
    return _graph(understood, unread, "prompt", img_id)


def any_of_triples(triples: Sequence[tuple[str, str, str]]) -> SceneGraph:
    """The scene graph of requirements whose subject, relation and object are given apart. Raises as `read_any`, about
    `requirements`.
    """
    understood: list[Requirement] = []
    unread: list[tuple[str, str]] = []
    for triple in triples:
        try:
            if found := steering("".join(triple)):
                raise ValueError(f"{found!r} is a control character; take it out")
            subject, relation, object_ = map(plain_text, triple)
            understood.append(_related(subject, relation, object_, exact=True))
        except ValueError as error:
            unread.append((" ".join(triple), str(error)))
    return _graph(understood, unread, "requirements", "prompt")


def _graph(found: list[Requirement], unread: list[tuple[str, str]], field: str, img_id: str) -> SceneGraph:
    if len(found) > MOST_REQUIREMENTS:
        unread = [(found[MOST_REQUIREMENTS].text, f"it is one of {len(found)}; ask for at most {MOST_REQUIREMENTS}")]
    if unread:
        raise _refused(found, unread, field)
    graph = graph_of(found, img_id, field, _MEANINGS)
    texts: dict[str, Requirement] = {}
    for one in graph.requirements:
        other = texts.setdefault(one.text, one)
        if other != one:
            raise _refused(found, [(one.text, f"it reads as {' / '.join(other.triple)} does; say it once")], field)
    return graph


def _refused(found: list[Requirement], unread: list[tuple[str, str]], field: str = "prompt") -> NotUnderstood:
    return NotUnderstood(found, unread, EXAMPLE, field)


def _clauses(text: str) -> list[str]:
    """The parts that should hold one requirement each. Commas part them; an `and` does where a relation stands on both
    sides, or an article follows it: in `a black and white cat`, it stands inside a name."""
    clauses: list[str] = []
    for sentence in SENTENCES.split(plain_lines(text.translate(_OTHER_STOPS))):
        sentence = " ".join(sentence.replace('"', " ").split())
        joints = [joint for joint in _JOINTS.finditer(sentence) if not _in_mark(sentence, joint.start())]
        starts, ends = [0, *(one.end() for one in joints)], [*(one.start() for one in joints), len(sentence)]
        pieces = [sentence[start:end] for start, end in zip(starts, ends, strict=True)]
        current, relates = pieces[0], _has_relation(pieces[0])
        for joint, piece in zip(joints, pieces[1:], strict=True):
            inside, too = joint[0].strip().lower() == "and" and not ARTICLE.match(piece), _has_relation(piece)
            if inside and not (relates and too):
                current, relates = current + joint[0] + piece, relates or too
            else:
                clauses.append(current)
                current, relates = piece, too
        clauses.append(current)
    return [clause for clause in map(unwrapped, clauses) if clause]


def _in_mark(sentence: str, place: int) -> bool:
    return sentence.count("[", 0, place) > sentence.count("]", 0, place)


def _has_relation(piece: str) -> bool:
    return bool(_MARKED.search(piece) or _found(piece) or _by_articles(piece))


def _found(clause: str) -> list[re.Match[str]]:
    """The relations in a clause by English words. One that nothing stands before is part of a name: `reading lamp`."""
    return [one for one in RELATION.finditer(clause) if ARTICLE.sub("", clause[: one.start()])]


def _by_articles(clause: str) -> tuple[str, str, str] | None:
    """Subject, verb and object of `a girl hugs a bear`: the verb is the word before the second and last article."""
    inner = list(_INNER_ARTICLE.finditer(clause))
    if not ARTICLE.match(clause) or len(inner) != 1:
        return None
    *subject, verb = clause[: inner[0].start()].split()
    if len(subject) < 2 or not verb.isalpha() or verb.lower() in JOINS:
        return None
    return " ".join(subject), verb, clause[inner[0].start() :].strip()


def _requirement(clause: str) -> Requirement:
    """The one requirement of a clause.

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
    relations = _found(clause) or list(RELATION.finditer(clause))
    if len(relations) > 1:
        named = ", ".join(repr(one[0]) for one in relations)
        raise ValueError(
            f"it has {len(relations)} relations, {named}; write one requirement for each, with ';' between"
        )
    if relations:
        before, after = clause[: relations[0].start()], clause[relations[0].end() :]
        return _related(_COPULA.sub("", f" {before.strip()}"), relations[0][0], after, exact=False)
    if parts := _by_articles(clause):
        return _related(*parts, exact=False)
    raise ValueError("no relation is known in it; put it in brackets, as in fox [leaping over] fence")


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
    _check_words(relation, "relation", LONGEST_RELATION)
    if negations := NEGATIONS & set(relation.lower().split()):
        raise ValueError(f"{min(negations)!r} cannot be required; say what should hold instead")
    names = _name(subject, f"before {relation!r}", exact), _name(object_, f"after {relation!r}", exact)
    if names[0].lower() == names[1].lower():
        raise ValueError(f"it relates {names[0]!r} to itself; name two items")
    return Requirement(names[0], relation, names[1])


def _name(words: str, where: str, exact: bool) -> str:
    """The name of an item, without its article.

    Raises:
        ValueError: the words do not name one item.
    """
    name = ARTICLE.sub("", words.strip())
    if not name or name.lower() in JOINS:
        raise ValueError(f"no item is named {where}")
    parts = {name.lower()} if exact else set(name.lower().split())
    if pronouns := PRONOUNS & parts:
        raise ValueError(f"what {min(pronouns)!r} stands for is not known; name the item")
    if not exact and (joined := parts & _NOT_IN_NAMES or (parts & JOINS if _INNER_ARTICLE.search(name) else set())):
        raise ValueError(
            f"{name!r} does not name one item because of {min(joined)!r}; write one requirement for each item"
        )
    _check_words(name, "name", LONGEST_NAME)
    return name


def _check_words(words: str, what: str, most: int) -> None:
    if len(words) > most:
        raise ValueError(f"{words[:30] + '…'!r} has {len(words)} characters; a {what} has at most {most}")
    for place, one in enumerate(words):
        sort = unicodedata.category(one)[0]
        if not (sort in "LN" if place == 0 else sort in "LMN" or one in _ALSO_IN_WORDS):
            raise ValueError(f"{words!r} is no {what} because of {one!r}; use letters, digits and hyphens")
