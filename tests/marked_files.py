"""Test files that a run leaves out before it imports them, which for most of them loads torch and more."""

from __future__ import annotations

import re
from pathlib import Path

_ENGINES = "mark.engines"
_ALL_ENGINES = re.compile(r"^pytestmark = \[?\s*pytest\.mark\.engines\b", re.MULTILINE)


def has_none(file: Path, expression: str) -> bool:
    """Whether a file of tests surely has none that `expression`, the value of pytest's `-m`, chooses: it asks for
    `engines` and the file never names that marker, or it asks for `not engines` and the whole file has it."""
    asked = expression.split(" and ")
    if not {"engines", "not engines"} & set(asked):
        return False
    text = file.read_text(encoding="utf-8")
    if "engines" in asked:
        return _ENGINES not in text
    return _ALL_ENGINES.search(text) is not None
