"""Names of items, and other words that may stand in a requirement."""

from __future__ import annotations

import re
import unicodedata

from scenes.wording.phrasing import ARTICLE, JOINS, PRONOUNS

LONGEST_NAME = 120
"""Characters."""
INNER_ARTICLE = re.compile(r"(?<!\bof) (?:a|an|the|some) ", re.IGNORECASE)

_NOT_IN_NAMES = frozenset({"or", "is", "are"})
_ALSO_IN_WORDS = " '’-&/+"


def name_of(words: str, where: str, exact: bool = False) -> str:
    """The name of an item, without its article.

    Args:
        where: it should stand, for the message.
        exact: whether somebody has said where it begins and ends.

    Raises:
        ValueError: the words do not name one item.
    """
    name = ARTICLE.sub("", words.strip())
    if not name or name.lower() in JOINS:
        raise ValueError(f"no item is named {where}")
    parts = {name.lower()} if exact else set(name.lower().split())
    if pronouns := PRONOUNS & parts:
        raise ValueError(f"what {min(pronouns)!r} stands for is not known; name the item")
    if not exact and (joined := parts & _NOT_IN_NAMES or (parts & JOINS if INNER_ARTICLE.search(name) else set())):
        raise ValueError(
            f"{name!r} does not name one item because of {min(joined)!r}; write one requirement for each item"
        )
    check_words(name, "name", LONGEST_NAME)
    return name


def check_words(words: str, what: str, most: int, also: str = "") -> None:
    """Refuse words that are too long, or hold more than letters, digits and hyphens.

    Args:
        what: they are, for the message.
        most: characters.
        also: characters that may stand in them, too.

    Raises:
        ValueError: why they are refused.
    """
    if len(words) > most:
        raise ValueError(f"{words[:30] + '…'!r} has {len(words)} characters; a {what} has at most {most}")
    for place, one in enumerate(words):
        sort = unicodedata.category(one)[0]
        if not (sort in "LN" if place == 0 else sort in "LMN" or one in _ALSO_IN_WORDS or one in also):
            raise ValueError(f"{words!r} is no {what} because of {one!r}; use letters, digits and hyphens")
