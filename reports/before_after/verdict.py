"""What training changed on held-out prompts, in a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reports.held_out_numbers import evaluations
from reports.tables import metric_label

if TYPE_CHECKING:
    from reports.number import Number
    from reports.run_record import RunRecord

# The first that a run holds is what it is judged by: nothing trains on those before the reward of one's own.
HEADLINES = ("sg_iou", "judge_score", "own_reward", "checker_reward")
_TRAINED_ON = {
    "own_reward": "the reward of your own, which it trains on,",
    "checker_reward": "the Checker's reward, which it trains on,",
}


@dataclass(frozen=True)
class Verdict:
    """`text` is for a person; `direction` is `up` or `down` where the change cannot be chance, else empty."""

    text: str
    direction: str = ""


def headline(metrics: Mapping[str, object]) -> str | None:
    """The metric that a run is judged by; None where it holds none of them."""
    return next((metric for metric in HEADLINES if metrics.get(metric) is not None), None)


def held_out_score(run: RunRecord) -> tuple[str, float] | None:
    """The metric that the run is judged by and its value in the last evaluation; None without one."""
    found = [metrics for name, metrics in evaluations(run).items() if name != "diffuser"]
    metric = headline(found[-1]) if found else None
    return None if metric is None else (metric, float(found[-1][metric]))


def verdict(run: RunRecord, numbers: Sequence[Number]) -> Verdict:
    """From the numbers of a run's sections `held_out` and `difference`."""
    found = evaluations(run)
    names = [name for name in found if name != "diffuser"]
    prompts = run.summary.get("prompts")
    where = f"on {prompts} held-out prompts" if isinstance(prompts, int) else "on held-out prompts"
    if not names or "before" not in found:
        return Verdict("There is no held-out evaluation, so what training changed on new prompts is not known.")
    last = names[-1]
    metric = headline({key: value for key, value in found["before"].items() if found[last].get(key) is not None})
    if metric is None:
        return Verdict("The held-out evaluations hold no score, so what training changed is not known.")
    name = _TRAINED_ON.get(metric, metric_label(metric))
    values = {n.item: n for n in numbers if n.section == "held_out" and n.metric == metric}
    before = values["before"]
    if last == "before":
        return Verdict(f"Before training, {name} is {_with_interval(before)} {where}. Training is not measured yet.")
    change = next(n for n in numbers if n.section == "difference" and n.metric == metric)
    when = "Training" if last == "after" else f"Training so far ({last.removeprefix('after_')} updates)"
    numbers_text = f"from {before.value:.3f} to {values[last].value:.3f} {where}"
    if change.low is None or change.high is None:
        return Verdict(f"{when} changed {name} by {change.value:+.3f}, {numbers_text}. There is no interval.")
    if change.low == change.high == 0:
        return Verdict(f"{when} left {name} at {before.value:.3f} {where}: the score of no prompt changed.")
    bounds = f"{change.value:+.3f}, 95 % interval [{change.low:+.3f}, {change.high:+.3f}]"
    if change.low <= 0 <= change.high:
        return Verdict(f"{when} changed {name} {numbers_text}: {bounds}. This may be chance.")
    up = change.value > 0
    return Verdict(f"{when} {'raised' if up else 'lowered'} {name} {numbers_text}: {bounds}.", "up" if up else "down")


def _with_interval(number: Number) -> str:
    ends = "" if number.low is None else f" [{number.low:.3f}, {number.high:.3f}]"
    return f"{number.value:.3f}{ends}"
