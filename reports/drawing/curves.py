"""The charts of a report, drawn from its numbers: one run's metrics together, or each metric with all runs in it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from measuring.reward_gap import EXACT_TRUTH
from reports.drawing.charts import COLOURS, Series, Stretch, bar_chart, line_chart
from reports.number import INTERVALS, Number

_MOST_ROWS = 2000  # of the values below a chart; the table beside the page has all of them


@dataclass(frozen=True)
class Plan:
    """One chart of a single run: several metrics of one unit, with the words of the legend."""

    title: str
    about: str
    metrics: dict[str, str]
    logarithmic: bool = False
    only_above_zero: bool = False  # a metric that is 0 throughout says nothing
    table: str = ""  # whose metrics, `table.name`, are shown by their names, where there are several

    def words(self, known: Collection[str]) -> dict[str, str]:
        """Words of the legend by metric, of those that are `known`."""
        if not self.table:
            return {metric: words for metric, words in self.metrics.items() if metric in known}
        named = {metric: metric.partition(".")[2] for metric in sorted(known) if metric.startswith(f"{self.table}.")}
        return dict(list(named.items())[: len(COLOURS)]) if len(named) > 1 else {}


TRAINING = (
    Plan(
        "Reward",
        "mean over the update's members; the ground truth (exact) is what the exact extractor finds in the same images",
        {"reward_mean": "reward", "truth_mean": "ground truth (exact)"},
    ),
    Plan(
        "Std of the reward",
        "mean over the groups; at 0 there is nothing to learn from",
        {"reward_std": "std"},
    ),
    Plan(
        "What each scorer gave",
        "mean over the update's members, before it is normalised and weighted",
        {},
        table="reward_values",
    ),
    Plan(
        "What each scorer decides",
        "mean of the groups' standard deviations of its part of the reward, normalised and weighted",
        {},
        table="reward_spread",
    ),
    Plan(
        "Unparsable answers",
        "share of the Actor's answers",
        {"unparsable_share": "unparsable share"},
        only_above_zero=True,
    ),
    Plan(
        "Log-probability mismatch",
        "rollout against learner, the update's largest",
        {"logprob_mismatch": "mismatch"},
        logarithmic=True,
    ),
    Plan("Groups", "kept: learned from; skipped: no signal", {"groups": "kept", "groups_dropped": "skipped"}),
    Plan(
        "Skipped groups (no signal)",
        "share of the update's groups, nearly always because all rewards were equal",
        {"no_signal_share": "skipped share"},
        only_above_zero=True,
    ),
    Plan("Gradient norm", "of the last optimizer step, before clipping", {"gradient_norm": "gradient norm"}),
    Plan("KL divergence", "to the starting model", {"kl": "KL divergence"}, only_above_zero=True),
    Plan("Staleness", "greatest age, in updates", {"staleness_max": "staleness"}, only_above_zero=True),
)
GAP = (
    Plan(
        "Reward minus ground truth",
        "where it widens, the policy learns to please what rewards it",
        {"gap": "reward − ground truth"},
    ),
    Plan(
        "The Checker's agreement with the ground truth",
        "share of requirements of edited images, answers cut at ½",
        {"checker_agreement": "agreement"},
    ),
)


def training_plans(own: Mapping[str, str], truths: Iterable[str] = ()) -> tuple[Plan, ...]:
    """`TRAINING`, with the reward under its name where a run trains on the user's own: `own` is its name by run; and
    with the truth under that of what measures it, one of `truths` for each run."""
    reward, *others = TRAINING
    if own:
        words = f"own reward ({', '.join(dict.fromkeys(own.values()))})"
        reward = replace(reward, metrics={**reward.metrics, "reward_mean": words})
    if (words := " or ".join(dict.fromkeys(truths))) not in ("", EXACT_TRUTH):
        about = f"mean over the update's members; the {words} is measured in the same images, by what no reward uses"
        reward = replace(reward, about=about, metrics={**reward.metrics, "truth_mean": words})
    return reward, *others


@dataclass(frozen=True)
class Curve:
    """One chart: its title, what it shows, the SVG, the legend, what its bands are, and the values behind it.

    `legend` is of names, whose place is their colour's. `rows` are (update, one number or None for each of `columns`).
    """

    title: str
    about: str
    svg: str
    bands: str
    legend: list[str] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    rows: list[tuple[int, list[Number | None]]] = field(default_factory=list)


def curves(plans: Sequence[Plan], numbers: Sequence[Number], runs: Sequence[str]) -> list[Curve]:
    """The charts of the section `training`, those without a single value left out.

    With one run, a chart shows its plan's metrics; with more, each metric has a chart of its own in which the runs lie
    over each other.
    """
    training = [number for number in numbers if number.section == "training"]
    drawn = []
    for plan in plans:
        known = {number.metric for number in training if not plan.only_above_zero or number.value > 0}
        metrics = plan.words(known)
        if len(runs) == 1:
            drawn.append(_curve(plan, plan.title, training, [(runs[0], m, words) for m, words in metrics.items()]))
            continue
        for metric, words in metrics.items():
            title = plan.title if len(plan.metrics) == 1 else f"{plan.title}: {words}"
            having = [run for run in runs if any((n.run, n.metric) == (run, metric) for n in training)]
            drawn.append(_curve(plan, title, training, [(run, metric, run) for run in having], runs))
    return [one for one in drawn if one.svg]


def _curve(
    plan: Plan,
    title: str,
    training: Sequence[Number],
    wanted: Sequence[tuple[str, str, str]],
    runs: Sequence[str] = (),
) -> Curve:
    """One chart; `wanted` are (run, metric, words). With `runs`, a run has the same colour in every chart."""
    found = [
        {n.update: n for n in training if n.update is not None and (n.run, n.metric) == (run, metric)}
        for run, metric, _ in wanted
    ]
    updates = sorted({update for one in found for update in one})
    rows = [(update, [one.get(update) for one in found]) for update in updates]
    series = [
        Series(
            words,
            [None if number is None else number.value for number in column],
            [None if number is None or number.low is None else (number.low, number.high) for number in column],
        )
        for (_, _, words), column in zip(wanted, zip(*(row for _, row in rows), strict=True), strict=False)
    ]
    if runs:
        by_run = dict(zip((run for run, _, _ in wanted), series, strict=False))
        series = [by_run.get(run, Series(run, [None] * len(updates))) for run in runs]
    svg = line_chart(title, series, list(map(str, updates)), _stretches(found, updates), plan.logarithmic)
    names = [words for _, _, words in wanted]
    bands = bands_text({name: [row[k] for _, row in rows] for k, name in enumerate(names)})
    legend = [one.name for one in series] if len(series) > 1 else []
    return Curve(title, plan.about, svg, bands, legend, names, rows[:_MOST_ROWS])


def bands_text(columns: Mapping[str, Sequence[Number | None]]) -> str:
    """What the intervals of a chart are over; by column where they are not all over the same."""
    used: dict[str, list[str]] = {}
    for name, column in columns.items():
        for interval in dict.fromkeys(n.interval for n in column if n is not None and n.interval is not None):
            used.setdefault(interval, []).append(name)
    if not used:
        return "No interval: one value an update."
    if len(used) == 1 and len(columns) == len(next(iter(used.values()))):
        return f"Bands: {INTERVALS[next(iter(used))]}."
    return "Bands: " + "; ".join(f"{INTERVALS[over]} ({', '.join(names)})" for over, names in used.items()) + "."


def _stretches(found: Sequence[dict[int, Number]], updates: Sequence[int]) -> list[Stretch]:
    """The policies that trained as parts of the horizontal axis; none where the runs differ."""
    stretches: list[Stretch] = []
    for position, update in enumerate(updates):
        policies = {one[update].policy for one in found if update in one}
        if len(policies) != 1:
            return []
        policy = str(policies.pop() or "")
        if stretches and stretches[-1].name == policy:
            stretches[-1] = Stretch(policy, stretches[-1].start, position + 1)
        else:
            stretches.append(Stretch(policy, position, position + 1))
    return stretches


def time_chart(numbers: Sequence[Number], runs: Sequence[str]) -> Curve | None:
    """Seconds by phase: of each update of one run, or in the mean of each of several; None without any."""
    one = len(runs) == 1
    metric = "seconds" if one else "seconds_mean"
    ours = [n for n in numbers if n.section == "time" and n.metric == metric and n.item != "update"]
    bars: Sequence[int | str] = [run for run in runs if any(n.run == run for n in ours)]
    if one:
        bars = sorted({n.update for n in ours if n.update is not None})
    seconds = {(n.item, n.update if one else n.run): n.value for n in ours}
    layers = [
        Series(str(phase), [seconds.get((phase, bar)) for bar in bars]) for phase in dict.fromkeys(n.item for n in ours)
    ]
    layers.sort(key=lambda layer: -sum(value or 0.0 for value in layer.values))
    if len(layers) > len(COLOURS):
        shown, rest = layers[: len(COLOURS) - 1], layers[len(COLOURS) - 1 :]
        layers = [*shown, Series("other", [sum(r.values[k] or 0.0 for r in rest) for k in range(len(bars))])]
    labels = [bar if len(str(bar)) <= 12 else f"{str(bar)[:11]}…" for bar in bars]
    svg = bar_chart("Seconds by phase", layers, list(map(str, labels)), across="update" if one else "run")
    about = "wall clock of each update" if one else "wall clock of an update, mean over the run's updates"
    return Curve("Seconds by phase", about, svg, "", [layer.name for layer in layers]) if svg else None
