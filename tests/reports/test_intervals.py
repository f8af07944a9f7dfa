import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from presets.errors import BadInput
from reports.intervals import Bootstrap, Interval, Scores

QUICK = Bootstrap(resamples=400)
SHARES = st.floats(0.0, 1.0, width=32)
MATRICES = st.tuples(st.integers(1, 4), st.integers(2, 24)).flatmap(
    lambda shape: arrays(np.float64, shape, elements=SHARES)
)


def scores(values: np.ndarray, seeds: tuple[int, ...] | None = None) -> Scores:
    values = np.atleast_2d(np.asarray(values, dtype=np.float64))
    names = tuple(f"p{k:04}" for k in range(values.shape[1]))
    return Scores(seeds or tuple(range(len(values))), names, values)


@given(MATRICES)
@settings(max_examples=60, deadline=None)
def test_interval_contains_the_mean(values: np.ndarray) -> None:
    interval = QUICK.mean(scores(values))
    assert interval.mean == pytest.approx(values.mean())
    assert interval.low - 1e-9 <= interval.mean <= interval.high + 1e-9
    assert values.min() - 1e-9 <= interval.low
    assert interval.high <= values.max() + 1e-9


@given(MATRICES, st.floats(0.01, 1.0))
@settings(max_examples=60, deadline=None)
def test_a_constant_difference_has_no_width(values: np.ndarray, shift: float) -> None:
    absolute = QUICK.difference(scores(values + shift), scores(values)).absolute
    assert [absolute.mean, absolute.low, absolute.high] == pytest.approx([shift] * 3, abs=1e-12)


@given(MATRICES, st.data())
@settings(max_examples=60, deadline=None)
def test_differences_are_antisymmetric(values: np.ndarray, data: st.DataObject) -> None:
    rows = data.draw(st.integers(1, 4))
    other = data.draw(arrays(np.float64, (rows, values.shape[1]), elements=SHARES))
    one = QUICK.difference(scores(values), scores(other))
    reverse = QUICK.difference(scores(other), scores(values))
    expected = [-one.absolute.mean, -one.absolute.high, -one.absolute.low]
    found = reverse.absolute
    assert [found.mean, found.low, found.high] == pytest.approx(expected, abs=1e-12)
    assert list(reverse.by_seed) == pytest.approx([-value for value in one.by_seed])


def test_relative_difference_is_that_of_the_means() -> None:
    base = np.linspace(0.2, 0.6, 50)
    found = QUICK.difference(scores(1.3 * base), scores(base))
    assert found.relative is not None
    assert [found.relative.mean, found.relative.low, found.relative.high] == pytest.approx([0.3] * 3)
    assert found.absolute.mean == pytest.approx(0.12)
    assert found.absolute.low < 0.12 < found.absolute.high


def test_no_relative_difference_to_a_baseline_at_zero() -> None:
    some = np.linspace(0.1, 0.9, 20)
    assert QUICK.difference(scores(some), scores(np.zeros(20))).relative is None
    rarely = np.zeros(20)
    rarely[0] = 1.0
    assert QUICK.difference(scores(some), scores(rarely)).relative is None


def test_pairing_takes_out_what_the_prompts_add() -> None:
    rng = np.random.default_rng(3)
    common = rng.uniform(0.1, 0.8, 200)
    a, b = common + 0.05 + 0.01 * rng.standard_normal(200), common
    difference = QUICK.difference(scores(a), scores(b)).absolute
    alone = QUICK.mean(scores(a))
    assert difference.high - difference.low < (alone.high - alone.low) / 5


@pytest.mark.parametrize("count", [2, 3, 6])
def test_spread_over_seeds_is_the_standard_error_of_their_mean(count: int) -> None:
    means = np.random.default_rng(count).normal(0.5, 0.1, count)
    many = Bootstrap(resamples=40_000, level=0.95)
    drawn = many.resampled(scores(np.repeat(means[:, None], 10, axis=1)))
    assert drawn.std() == pytest.approx(means.std(ddof=1) / np.sqrt(count), rel=0.03)


def test_seeds_are_paired_where_both_arms_have_the_same() -> None:
    seeds = np.array([0.3, 0.5, 0.7])[:, None] * np.ones((3, 30))
    paired = QUICK.difference(scores(seeds + 0.1), scores(seeds))
    assert paired.absolute.high - paired.absolute.low == pytest.approx(0.0, abs=1e-12)
    assert paired.by_seed == pytest.approx((0.1, 0.1, 0.1))
    unpaired = QUICK.difference(scores(seeds + 0.1, (0, 1, 2)), scores(seeds, (3, 4, 5)))
    assert unpaired.absolute.high - unpaired.absolute.low > 0.2
    assert unpaired.by_seed == ()


def test_an_arm_with_one_seed_is_paired_with_every_seed() -> None:
    base = np.linspace(0.2, 0.6, 40)
    trained = np.stack([base + 0.05, base + 0.10, base + 0.15])
    found = QUICK.difference(scores(trained), scores(base, (-1,)))
    assert found.by_seed == pytest.approx((0.05, 0.10, 0.15))
    assert [found.absolute.mean, found.absolute.low, found.absolute.high] == pytest.approx([0.10, 0.05, 0.15])


def coverage(seeds: int, seed_spread: float, trials: int = 400) -> float:
    """Share of simulated experiments whose interval of a difference holds the true one, 0.05."""
    bootstrap, rng, prompts, hits = Bootstrap(resamples=2000), np.random.default_rng(11), 80, 0
    for _ in range(trials):
        common = rng.normal(0.5, 0.2, prompts)
        gain = 0.05 + rng.normal(0.0, 0.1, prompts) + rng.normal(0.0, seed_spread, (seeds, 1))
        a = common + gain + rng.normal(0.0, 0.1, (seeds, prompts))
        b = common + rng.normal(0.0, 0.1, prompts)
        interval = bootstrap.difference(scores(a), scores(b, (-1,))).absolute
        hits += interval.low <= 0.05 <= interval.high
    return hits / trials


@pytest.mark.parametrize(("seeds", "seed_spread"), [(1, 0.0), (3, 0.0), (3, 0.01)])
def test_coverage_is_about_95_percent(seeds: int, seed_spread: float) -> None:
    assert 0.91 <= coverage(seeds, seed_spread) <= 0.985


def test_three_seeds_cannot_show_all_of_what_training_varies() -> None:
    assert coverage(3, 1.0) == pytest.approx(0.75, abs=0.06)


def test_equal_seeds_give_equal_intervals_and_a_level_widens_them() -> None:
    values = scores(np.random.default_rng(0).uniform(size=(3, 40)))
    assert Bootstrap(500, seed=4).mean(values) == Bootstrap(500, seed=4).mean(values)
    assert Bootstrap(500, seed=4).mean(values) != Bootstrap(500, seed=5).mean(values)
    wide, narrow = Bootstrap(500, level=0.99).mean(values), Bootstrap(500, level=0.5).mean(values)
    assert wide.high - wide.low > narrow.high - narrow.low


def test_ten_thousand_resamples_take_less_than_a_second() -> None:
    rng = np.random.default_rng(0)
    a, b = scores(rng.uniform(size=(3, 512))), scores(rng.uniform(size=(1, 512)), (-1,))
    began = time.process_time()
    Bootstrap(resamples=10_000).difference(a, b)
    assert time.process_time() - began < 1.0


def test_prompts_that_differ_are_named() -> None:
    a = Scores.from_cells({0: {"p1": 0.5, "p2": 0.5, "p4": 0.1}})
    b = Scores.from_cells({0: {"p1": 0.5, "p3": 0.5}})
    with pytest.raises(BadInput, match=r"first arm lacks prompt 'p3'; the second arm lacks prompt 'p2', 'p4'"):
        QUICK.difference(a, b)
    many = Scores.from_cells({0: {f"q{k}": 0.5 for k in range(9)}})
    with pytest.raises(BadInput, match="and 4 more"):
        QUICK.difference(Scores.from_cells({0: {"p1": 0.5}}), many)


def test_cells_are_sorted_and_checked() -> None:
    found = Scores.from_cells({2: {"b": 0.2, "a": 0.1}, 0: {"a": 0.3, "b": 0.4}})
    assert (found.seeds, found.prompt_ids) == ((0, 2), ("a", "b"))
    assert found.values.tolist() == [[0.3, 0.4], [0.1, 0.2]]
    with pytest.raises(BadInput, match="seed 1 lacks prompt 'b'"):
        Scores.from_cells({0: {"a": 0.0, "b": 0.0}, 1: {"a": 0.0}})
    with pytest.raises(BadInput, match="no value to average"):
        Scores.from_cells({})
    with pytest.raises(BadInput, match="nan for prompt 'a', seed 0"):
        Scores.from_cells({0: {"a": float("nan")}})


@pytest.mark.parametrize(("arguments", "name"), [({"resamples": 0}, "resamples: 0"), ({"level": 1.0}, "level: 1.0")])
def test_settings_of_the_bootstrap_are_checked(arguments: dict, name: str) -> None:
    with pytest.raises(BadInput, match=name):
        Bootstrap(**arguments)


def test_one_prompt_has_no_width() -> None:
    assert QUICK.mean(scores(np.array([[0.25]]))) == Interval(0.25, 0.25, 0.25)


@given(st.lists(st.tuples(st.floats(-3.0, 3.0), st.integers(1, 9)), min_size=1, max_size=12))
@settings(max_examples=30, deadline=None)
def test_a_ratio_is_the_mean_over_members_and_lies_in_its_interval(prompts: list[tuple[float, int]]) -> None:
    sums = np.array([mean * count for mean, count in prompts])
    counts = np.array([count for _, count in prompts], dtype=float)
    interval = QUICK.ratio(sums, counts)
    assert interval.mean == pytest.approx(np.average([mean for mean, _ in prompts], weights=counts))
    lowest, highest = min(mean for mean, _ in prompts), max(mean for mean, _ in prompts)
    assert lowest - 1e-9 <= interval.low <= interval.high <= highest + 1e-9


def test_prompts_of_equal_size_give_the_interval_of_their_means() -> None:
    means = np.random.default_rng(3).random(16)
    one, other = QUICK.ratio(8 * means, np.full(16, 8.0)), QUICK.mean(scores(means))
    assert [one.mean, one.low, one.high] == pytest.approx([other.mean, other.low, other.high])


def test_a_difference_of_ratios_is_paired_by_prompt() -> None:
    means = np.random.default_rng(4).random(16)
    counts = np.full(16, 4.0)
    shifted = QUICK.ratio_difference((4 * (means + 0.1), counts), (4 * means, counts))
    assert [shifted.mean, shifted.low, shifted.high] == pytest.approx([0.1] * 3)


def test_prompts_without_members_are_refused() -> None:
    with pytest.raises(BadInput, match="give at least one prompt, each with a member"):
        QUICK.ratio(np.array([1.0, 0.0]), np.array([2.0, 0.0]))
    with pytest.raises(BadInput, match="give at least one prompt"):
        QUICK.ratio(np.array([]), np.array([]))
    with pytest.raises(BadInput, match="2 prompts and 1 prompts"):
        QUICK.ratio_difference((np.ones(2), np.ones(2)), (np.ones(1), np.ones(1)))
