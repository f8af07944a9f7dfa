"""Text that others wrote, made harmless to show: no codes that steer a terminal, nothing that UTF-8 cannot hold."""

from __future__ import annotations

import re

LONGEST = 20_000
"""Characters that are shown of one text."""

# Control codes but for tab and end of line, marks that turn the direction of writing, halves of surrogate pairs.
_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def harmless(text: str, most: int = LONGEST) -> str:
    r"""The text with what steers a terminal, or cannot be written, as an escape such as `\x1b`; at most `most`
    characters of it, then `…`."""
    shown = text if len(text) <= most else f"{text[:most]}…"
    return _STEERING.sub(lambda found: ascii(found[0])[1:-1], shown)


def steering(text: str) -> str:
    r"""The first character that `harmless` would escape; empty where there is none. `\r\n` is an end of line."""
    found = _STEERING.search(text.replace("\r\n", "\n"))
    return found[0] if found else ""


def name_of(text: str, most: int = 120) -> str:
    """The same in one line, for names."""
    return " ".join(harmless(text, most).split())
