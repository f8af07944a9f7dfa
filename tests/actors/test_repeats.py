from hypothesis import given
from hypothesis import strategies as st

from actors.repeats import without_repeats


def test_each_different_key_is_named_once_by_its_first_place():
    assert without_repeats(["a", "b", "a", "c"]) == ([0, 1, 3], [0, 1, 0, 2])
    assert without_repeats([]) == ([], [])


@given(st.lists(st.integers(0, 5)))
def test_what_is_computed_for_the_first_places_can_be_put_back(keys):
    firsts, places = without_repeats(keys)
    assert [keys[firsts[place]] for place in places] == keys
    assert len(firsts) == len(set(keys))
    assert firsts == sorted(firsts)
