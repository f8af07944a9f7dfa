"""What people write around requirements: marks of lists, emphasis, polite words, articles; and phrases that mean the
same relation."""

from __future__ import annotations

import re

from scenes.plain_text import plain_text

PHRASES = {  # other words for a relation of the shape world
    "left of": ("to the left of", "on the left of", "at the left of", "on the left side of", "left from"),
    "right of": ("to the right of", "on the right of", "at the right of", "on the right side of", "right from"),
    "above": ("over",),
    "below": ("under", "underneath", "beneath"),
}
SENTENCES = re.compile(r"[;\n]+|[.!?]+(?=\s|$)")
LEAD_IN = re.compile(
    r"^(?:(?:please|kindly|(?:can|could|would) you|i (?:want|would like|need)|i['’]d like|to see|draw|paint|show|make"
    r"|create|generate|render|me|the following|as follows|there (?:is|are|should be|must be)|and|with"
    r"|(?:a |an |the )?(?:picture|image|photo|photograph|drawing|painting|scene) "
    r"(?:of|with|showing|where|in which))[,:]?\s+)+",
    re.IGNORECASE,
)
LEAD_OUT = re.compile(r"(?:,?\s+(?:please|thanks|thank you))+$", re.IGNORECASE)
ARTICLE = re.compile(r"^(?:a|an|the|some)\s+", re.IGNORECASE)
NEGATIONS = frozenset({"not", "no", "never", "without", "neither", "nor", "isn't", "isn’t", "aren't", "aren’t"})
PRONOUNS = frozenset({"it", "they", "them", "this", "that", "these", "those", "which", "who", "he", "she", "both"})
JOINS = frozenset({"a", "an", "the", "and", "or", "is", "are", "of", "some"})

_LIST_MARK = re.compile(r"(?:(?:[-*+•‣◦–—>#]+|\d{1,3}[.)]|\[[ x]?\])\s+)+")
_EMPHASIS = re.compile(r"(\*\*|\*|__|`)(?=\S)(.+?)(?<=\S)\1")
_QUOTES = str.maketrans("“”„«»", '"' * 5)


def plain_lines(text: str) -> str:
    """The lines of a text without marks of lists and emphasis, and with plain quotation marks."""
    lines = []
    for line in text.splitlines():
        line = plain_text(line).translate(_QUOTES)
        lines.append(_EMPHASIS.sub(r"\2", _LIST_MARK.sub("", line, count=1) if _LIST_MARK.match(line) else line))
    return "\n".join(lines)


def unwrapped(clause: str) -> str:
    """A clause without quotation marks, white space and polite words around it; empty where nothing else is in it."""
    clause = " ".join(clause.replace('"', " ").split()).strip(" ,:")
    clause = LEAD_OUT.sub("", f" {clause}").strip()
    return clause if LEAD_IN.sub("", f"{clause} ").strip(" ,:") else ""
