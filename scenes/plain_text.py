"""Words as they are seen: composed, without characters that show nothing, with single spaces."""

from __future__ import annotations

import unicodedata

# Fillers, joiners and selectors that are letters or marks to Unicode and show nothing.
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0") | {chr(0xFE00 + k) for k in range(16)}


def plain_text(text: str) -> str:
    """A text in Unicode's normal form C, without control and format characters, its white space single spaces. What
    looks alike by these rules is equal, and a text of which nothing can be seen is empty.
    """
    if text.isascii() and text.isprintable():  # most are, and each of these characters but the space is seen
        return " ".join(text.split())
    spaced = (" " if one.isspace() else one for one in unicodedata.normalize("NFC", text))
    seen = "".join(one for one in spaced if one not in _BLANK and unicodedata.category(one)[0] != "C")
    words = " ".join(unicodedata.normalize("NFC", seen).split())  # what stood apart may compose now
    return words if any(unicodedata.category(one)[0] in "LNPS" for one in words) else ""
