"""The claims: which arm beats which, by how much, and whether the rows say so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reports.intervals import Bootstrap, Difference, Scores

CLAIM_METRIC = "sg_iou"
# Resampled means are sums of rounded products: two arms that are equal may differ by this much.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Claim:
    """That arm `a` has a higher SG-IoU than arm `b`. `target` is the least relative difference, where one is claimed;
    a difference that is only `reported` claims nothing."""

    a: str
    b: str
    prompts: str = "two_three"
    target: float | None = None
    reported: bool = False


CLAIMS = (
    Claim("RL-RIG", "Diffuser", target=0.30),
    Claim("RL-RIG", "RL-RIG raw", target=0.11),
    Claim("RL-RIG", "Best-of-N"),
    Claim("Actor trained", "RL-RIG raw"),
    Claim("Editor trained", "RL-RIG raw"),
    Claim("RL-RIG", "RL-RIG raw", prompts="four_five"),
    Claim("RL-RIG, alternating", "RL-RIG", reported=True),
)


@dataclass(frozen=True)
class Finding:
    """What the rows say about a claim; `difference` is None where an arm was not run."""

    claim: Claim
    mean_a: float | None
    mean_b: float | None
    difference: Difference | None

    @property
    def side(self) -> str | None:
        """Where the interval of the absolute difference lies: above zero, below zero, or around zero."""
        if self.difference is None:
            return None
        if self.difference.absolute.low > _ROUNDING:
            return "above zero"
        return "below zero" if self.difference.absolute.high < -_ROUNDING else "around zero"

    @property
    def excludes_zero(self) -> bool | None:
        """Whether the interval excludes zero in the claimed direction; in either one where none is claimed."""
        if self.side is None:
            return None
        return self.side == "above zero" or (self.claim.reported and self.side == "below zero")

    @property
    def target_reached(self) -> bool | None:
        """Whether the relative difference is at least the target; without one, whether the interval is above zero."""
        if self.difference is None or self.claim.reported:
            return None
        if self.claim.target is None:
            return self.excludes_zero
        relative = self.difference.relative
        return relative is not None and relative.mean >= self.claim.target

    @property
    def verdict(self) -> str:
        """met | not met | reported | not run."""
        if self.difference is None:
            return "not run"
        if self.claim.reported:
            return "reported"
        return "met" if self.excludes_zero and self.target_reached else "not met"

    @property
    def reason(self) -> str:
        """Why the verdict is what it is, as a clause."""
        if self.difference is None:
            missing = [
                name for name, mean in ((self.claim.a, self.mean_a), (self.claim.b, self.mean_b)) if mean is None
            ]
            return f"{' and '.join(missing)} {'was' if len(missing) == 1 else 'were'} not run"
        parts = [
            {"above zero": "the interval is above zero", "below zero": "the whole interval is below zero"}.get(
                str(self.side), "the interval includes zero"
            )
        ]
        target, relative = self.claim.target, self.difference.relative
        if target is not None and relative is None:
            parts.append(f"no relative difference can be given, because {self.claim.b} scores too close to 0")
        elif target is not None and relative is not None:
            against = "but " if self.side == "above zero" and not self.target_reached else ""
            word = "reaches" if self.target_reached else "is below"
            parts.append(f"{against}{percent(relative.mean, 2)} {word} the target of {percent(target, 0)}")
            if self.target_reached and relative.low < target:
                parts.append(f"though its interval begins at {percent(relative.low, 2)}")
        return ", ".join(parts)


def percent(share: float, digits: int = 1) -> str:
    """`+11.4 %` for 0.114."""
    return f"{100 * share:+.{digits}f} %"


def find(claim: Claim, arms: Mapping[str, Scores], bootstrap: Bootstrap) -> Finding:
    """Compare the two arms of a claim.

    Args:
        arms: SG-IoU of each arm that was run, on the claim's set of prompts.

    Raises:
        BadInput: the two arms were not given the same prompts.
    """
    a, b = arms.get(claim.a), arms.get(claim.b)
    difference = bootstrap.difference(a, b) if a is not None and b is not None else None
    means = [None if one is None else float(one.means.mean()) for one in (a, b)]
    return Finding(claim, means[0], means[1], difference)
