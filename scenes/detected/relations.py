"""How two boxes stand to each other, by the rules of GenEval and of VISOR.

GenEval (Ghosh et al., arXiv 2310.11513, `relative_position` of its evaluation): with o the way from the centre of the
object to that of the subject, and s = 0.1 · (size of subject + size of object), along each axis,
`r = max(|o| − s, 0) · sign(o) / ‖o‖`. A relation holds where r points its way by more than 0.5.

VISOR (Gokhale et al., arXiv 2212.10015): the centroids are compared, `left of` holds where the subject's x is smaller.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

from scenes.detected.boxes import Box
from scenes.wording.phrasing import PHRASES

GENEVAL_SLACK = 0.1
"""GenEval's `position_threshold`: the part of both boxes' size by which centres may differ without a relation."""
GENEVAL_DIRECTION = 0.5
"""GenEval: least part of the way between the centres that goes along an axis, the slack taken off."""
GENEVAL_NOTHING = 1e-3
"""GenEval: pixels beyond the slack that are nothing."""

Rule = Literal["geneval", "visor"]
RULES: tuple[str, ...] = get_args(Rule)
_AXES = (("left of", "right of"), ("above", "below"))
_MEANINGS = {other: name for name, others in PHRASES.items() for other in (name, *others)}


def plain_predicate(predicate: str) -> str | None:
    """Which of `left of`, `right of`, `above` and `below` a predicate means; None where boxes cannot decide it."""
    return _MEANINGS.get(" ".join(predicate.casefold().split()))


def relations(subject: Box, other: Box, rule: Rule = "geneval") -> tuple[str, ...]:
    """The relations of `left of`, `right of`, `above` and `below` in which a box stands to another one, that with the
    longer way between the centres first; none where no rule says so."""
    offset = [a - b for a, b in zip(subject.centre, other.centre, strict=True)]
    shown = offset if rule == "visor" else _beyond_slack(subject, other, offset)
    least = 0.0 if rule == "visor" else GENEVAL_DIRECTION
    found = [
        (-abs(way), before if way < 0 else behind)
        for way, (before, behind) in zip(shown, _AXES, strict=True)
        if abs(way) > least
    ]
    return tuple(name for _, name in sorted(found))


def _beyond_slack(subject: Box, other: Box, offset: list[float]) -> list[float]:
    """GenEval's r along x and y."""
    rest = [
        math.copysign(max(abs(way) - GENEVAL_SLACK * (a + b), 0.0), way)
        for way, a, b in zip(offset, subject.size, other.size, strict=True)
    ]
    length = math.hypot(*offset)
    if all(abs(way) < GENEVAL_NOTHING for way in rest) or length == 0:
        return [0.0, 0.0]
    return [way / length for way in rest]
