import json

import pytest

from learner.stats import RankStats, merge

SUMS = {"objective": 2.0, "kl": 1.0, "ratio": 4.0, "clipped": 1.0, "importance": 4.0, "count": 4}


def rank(values: list[float], positions: list[int], digest: str = "d") -> RankStats:
    stats = RankStats(gradient_norms=[0.5], tensors=3, tensors_changed=3, digest=digest)
    stats.add(SUMS)
    stats.add_mismatch(values, positions)
    return stats


def merged(*ranks: RankStats):
    return merge(ranks, "actor", version=1, samples=4, kl_coefficient=0.1, seconds=1.0)


def test_the_mismatch_is_a_mean_over_the_terms_at_each_position():
    stats = rank([0.25, 0.5], [0, 1])
    stats.add_mismatch([0.75, 0.0, 1.0], [0, 1, 2])  # another forward pass, with a longer answer
    stats = merged(stats)
    assert stats.logprob_mismatch_by_position == [0.5, 0.25, 1.0]
    assert stats.logprob_mismatch_mean == 0.5
    assert stats.logprob_mismatch_max == 1.0
    assert stats.terms == 5


def test_positions_are_merged_over_ranks_by_their_counts():
    longer, shorter = rank([0.3, 0.3, 0.3, 0.8], [0, 0, 0, 1]), rank([0.7], [0])
    for order in ((longer, shorter), (shorter, longer)):
        stats = merged(*order)
        assert stats.logprob_mismatch_by_position == pytest.approx([0.4, 0.8])  # not (0.3 + 0.7) / 2
        assert stats.logprob_mismatch_mean == pytest.approx(2.4 / 5)


def test_a_rank_without_samples_adds_nothing():
    idle = RankStats(gradient_norms=[0.5], tensors=3, tensors_changed=3, digest="d")
    assert merged(rank([0.5, 0.1], [0, 1]), idle).logprob_mismatch_by_position == [0.5, 0.1]


def test_the_slowest_rank_says_how_long_the_update_computed():
    fast, slow = rank([0.1], [0]), rank([0.1], [0])
    fast.seconds, slow.seconds = 0.25, 0.75
    stats = merged(fast, slow)
    assert (stats.seconds, stats.compute_seconds) == (1.0, 0.75)


def test_a_metrics_line_holds_the_list_beside_the_plain_numbers():
    line = json.loads(json.dumps(merged(rank([0.5, 0.1], [0, 1])).as_dict()))
    assert line["logprob_mismatch_by_position"] == [0.5, 0.1]
    assert line["logprob_mismatch_max"] == 0.5
    assert line["loss"] == pytest.approx((0.1 * 1 - 2) / 4)


def test_drift_and_entropy_are_means_over_terms_and_not_known_where_the_loss_has_none():
    assert (merged(rank([0.5], [0])).drift, merged(rank([0.5], [0])).entropy) == (None, None)
    stats = rank([0.5], [0])
    stats.sums |= {"drift": 0.2, "entropy": 6.0}
    assert (merged(stats).drift, merged(stats).entropy) == pytest.approx((0.05, 1.5))


@pytest.mark.parametrize("positions", [[0], [0, 1, 2], [0, -1]])
def test_a_term_without_its_position_is_refused(positions):
    with pytest.raises(ValueError, match="one position, from 0, for each value"):
        RankStats().add_mismatch([0.1, 0.2], positions)


def test_ranks_with_different_weights_are_refused():
    with pytest.raises(RuntimeError, match=r"different weights: \['d', 'e'\]"):
        merged(rank([0.1], [0]), rank([0.1], [0], digest="e"))
