"""The parts of a reward: what each scorer said, and what that came to."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan


@dataclass(frozen=True)
class Part:
    """Of one scorer. `value` is what it gave, NaN where it gave none; `part` what that is of the reward, normalised and
    weighted, NaN where it was left out; `seconds` the wall clock of its batch."""

    name: str
    value: float
    part: float
    seconds: float = 0.0


@dataclass(frozen=True)
class Worth:
    """What a turn is worth. `missing` names the required scorers that gave no value; `reward` is then NaN."""

    reward: float
    parts: tuple[Part, ...] = ()
    missing: tuple[str, ...] = ()

    @classmethod
    def without(cls, parts: tuple[Part, ...], missing: tuple[str, ...]) -> Worth:
        """Of a turn that required scorers gave no value."""
        return cls(nan, parts, missing)

    @property
    def rejected(self) -> str | None:
        """Why the member may not be compared with the others, or None."""
        return f"{BY_SCORER}{self.missing[0]} gave no value" if self.missing else None


BY_SCORER = "scorer "


def by_scorer(reason: str | None) -> bool:
    """Whether a member was rejected because a scorer gave no value, not because of what the models gave."""
    return reason is not None and reason.startswith(BY_SCORER)
