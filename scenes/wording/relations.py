"""English relations as captions write them, and the pattern that finds them in a sentence."""

from __future__ import annotations

import re
from collections.abc import Iterable

from scenes.wording.phrasing import PHRASES

SUGGESTED = (
    *("on top of", "next to", "in front of", "behind", "inside", "under", "above", "left of", "right of", "near"),
    *("holding", "wearing", "riding", "looking at", "sitting on", "standing on", "leaning against", "hanging from"),
)
"""What a form offers; `RELATION` finds each."""

_PLACES = (
    *(phrase for name, others in PHRASES.items() for phrase in (name, *others)),
    *("on", "on top of", "at the top of", "atop", "upon", "onto", "in", "into", "inside", "inside of", "within"),
    *("in the middle of", "in the center of", "in the centre of", "at the bottom of", "at the foot of"),
    *("in front of", "behind", "at the back of", "beyond", "past", "next to", "close to", "near", "near to", "by"),
    *("beside", "alongside", "along", "at", "at the edge of", "on the edge of", "at the side of", "on the side of"),
    *("to the side of", "against", "adjacent to", "opposite", "facing", "across", "across from", "through", "between"),
    *("among", "amid", "around", "outside", "outside of", "toward", "towards", "away from", "far from", "with"),
    *("full of", "part of", "taller than", "larger than", "bigger than", "smaller than", "shorter than"),
)
_NEARER = "directly|just|right|partly|partially|slightly|halfway|high|far|deep"
_PARTICLES = (
    *("from", "to", "like", "for", "of", "off", "out of", "up", "down", "up at", "down at", "up to", "down from"),
)
# Verbs that are a relation only before a place: a sleeping cat is a cat, and one that is sleeping on a mat is on it.
_POSES = """
    sitting sits standing stands lying lies laying sleeping sleeps resting rests leaning leans hanging hangs floating
    floats flying flies walking walks running runs jumping jumps leaping leaps swimming swims climbing climbs growing
    grows kneeling kneels crouching crouches bending dancing dances falling falls rolling rolls perching perches looking
    looks staring stares gazing gazes glancing pointing points smiling smiles waving waves talking talks listening
    listens crawling crawls sliding slides skating surfing sailing sails parking driving moving moves stretching
    covered filled surrounded attached made tied parked mounted placed located positioned seated hung stacked wrapped
    decorated connected topped lined carved painted printed written reflected balanced perched stuck hidden tucked
    scattered mixed arranged displayed served trapped buried suspended dressed shaped leaned propped chained
"""
_ACTIONS = """
    wearing wears holding holds carrying carries riding rides eating eats drinking drinks using uses playing plays
    hitting hits kicking kicks throwing throws catching catches chasing chases pulling pulls pushing pushes touching
    touches hugging hugs kissing kisses feeding feeds watching reading reads cutting containing contains covering
    surrounding supporting following follows leading crossing overlooking overlooks entering enters leaving having has
    approaching approaches petting pets lifting lifts biting bites licking licks guarding guards embracing embraces
"""


def _any_of(phrases: Iterable[str]) -> str:
    return "|".join(map(re.escape, sorted(set(phrases), key=lambda phrase: (-len(phrase), phrase))))


_PLACE = rf"(?:(?:{_NEARER}) )?(?:{_any_of(_PLACES)})"
_VERB = rf"(?:{_any_of(f'{_POSES} {_ACTIONS}'.split())}) (?:{_PLACE}|{_any_of(_PARTICLES)})"
RELATION = re.compile(
    rf"(?<![\w'’-])(?:{_VERB}|{_any_of(_ACTIONS.split())}|{_PLACE})(?![\w'’-])",
    re.IGNORECASE,
)
"""A relation, in a text with single spaces; the longest that begins at a place."""
