from hypothesis import given
from hypothesis import strategies as st

from rollout.seeds import derive_seed


@given(st.integers(0, 2**31), st.text(max_size=20), st.integers(0, 1000))
def test_seeds_are_32_bit_and_repeatable(seed, purpose, number):
    value = derive_seed(seed, purpose, number)
    assert 0 <= value < 2**32
    assert value == derive_seed(seed, purpose, number)


def test_purposes_numbers_and_seeds_lead_to_different_seeds():
    values = {derive_seed(s, p, n) for s in range(4) for p in ("draw", "edit", "answer") for n in range(50)}
    assert len(values) == 4 * 3 * 50
