import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from scenes.plain_text import plain_text


@given(st.text(max_size=30))
def test_a_plain_text_is_plain_and_stays_as_it_is(text: str) -> None:
    plain = plain_text(text)
    assert plain_text(plain) == plain
    assert unicodedata.is_normalized("NFC", plain)
    assert plain == " ".join(plain.split())
    assert not any(unicodedata.category(one)[0] == "C" for one in plain)


@given(
    st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=10), st.sampled_from("\u200b\u00ad\u2060\ufeff")
)
def test_what_shows_nothing_changes_nothing(word: str, hidden: str) -> None:
    assert plain_text(hidden + word + hidden) == plain_text(word)
    assert plain_text(hidden * 3) == ""


def test_words_of_other_scripts_are_kept() -> None:
    for word in ("кошка", "猫", "بيت", "ราชา", "caf\u00e9", "\U0001f642", "rock ’n’ roll"):
        assert plain_text(word) == word
