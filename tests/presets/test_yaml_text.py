import math
import time
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from presets.errors import ConfigError
from presets.yaml_text import DEEPEST, MOST_CHARACTERS, parse_yaml, write_yaml

LAUGHS = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9)
)
text = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20) | st.sampled_from(
    [
        "yes",
        "no",
        "on",
        "1e-4",
        "0o10",
        "010",
        "1:30",
        "2026-13-45",
        "~",
        "null",
        "=",
        "<<",
        "1_000",
        ".inf",
        "a: b",
        "a\nb",
        "\t",
    ]
)
scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | text
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4))


@given(values)
def test_what_is_written_reads_as_the_same_values(value: Any) -> None:
    assert parse_yaml(write_yaml(value), "here") == value
    assert repr(yaml.safe_load(write_yaml({"a": value}))) == repr({"a": value})  # readers of YAML 1.1 agree


def test_a_value_that_occurs_twice_is_written_twice() -> None:
    shared = [1]
    assert parse_yaml(write_yaml([shared, shared]), "here") == [[1], [1]]


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("1e-4", 1e-4),
        (".5", 0.5),
        ("-.inf", -math.inf),
        ("yes", "yes"),
        ("off", "off"),
        ("True", True),
        ("2026-13-45", "2026-13-45"),
        ("2026-01-02", "2026-01-02"),
        ("!!str 5", "5"),
        ("!!float 5", 5.0),
        ("", None),
        ("~", None),
    ],
)
def test_plain_words_are_read_by_the_core_schema_of_yaml_1_2(source: str, value: Any) -> None:
    assert repr(parse_yaml(source, "here")) == repr(value)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("a: 1\nb: [*x]", "here, line 2, column 5: the alias *x is refused"),
        (LAUGHS, "here, line 2, column 10: the alias *a0 is refused"),
        ("a: {<<: {b: 1}}", "here, line 1, column 5: the merge key << is refused"),
        ("!!merge <<: {b: 1}", "here, line 1, column 1: the tag 'tag:yaml.org,2002:merge' is refused"),
        ("a: !!int abc", "here, line 1, column 4: 'abc' is refused: must be a number, YAML's int"),
        ("a: !!int ''", "here, line 1, column 4: '' is refused"),
        ("a: !!int [1]", "here, line 1, column 4: must be a single value, and is a list"),
        ("a: !!float x", "here, line 1, column 4: 'x' is refused"),
        ("a: !!bool x", "here, line 1, column 4: 'x' is refused: must be true or false"),
        ("a: !!map [1]", "here, line 1, column 4: must be a mapping, and is a list"),
        ("a: !!seq {b: 1}", "here, line 1, column 4: "),
        ("a: !!timestamp 2026-13-45", "the tag 'tag:yaml.org,2002:timestamp' is refused"),
        ("a: !!python/object/apply:os.system [ls]", "os.system' is refused"),
        ("a: " + "9" * 5000, "here, line 1, column 4: '99999"),
        ("a: 9223372036854775808", "must be an integer of 64 bits"),
        ('a: "b\\0c"', "here, line 1, column 4: 'b\\x00c' is refused: no value holds the character U+0000"),
        ('a: "\\uD800"', "no value holds the character U+D800"),
        ("a: b\x01", "here, line 1, column 5: the character U+0001 is refused"),
        ("1: a", "here, line 1, column 1: key 1 is refused: keys are text"),
        ("? [a]\n: b", "key ['a'] is refused"),
        ("a: 1\na: 2", "here, line 2, column 1: key 'a' occurs twice"),
        ("a: " + "[" * 100_000, "has more than"),
        ("a: " + "[" * (DEEPEST + 1) + "]" * (DEEPEST + 1), f"nested more than {DEEPEST} deep"),
        ("- " * 5000 + "a", f"nested more than {DEEPEST} deep"),
        ("a: 1\n---\nb: 2", "here, line 2, column 1: broken YAML: but found another document"),
    ],
)
def test_what_cannot_be_built_is_told_in_one_line_and_soon(source: str, message: str) -> None:
    began = time.process_time()
    with pytest.raises(ConfigError) as error:
        parse_yaml(source, "here")
    assert message in str(error.value)
    assert len(str(error.value).splitlines()) == 1
    assert len(str(error.value)) < 300
    assert time.process_time() - began < 2.0


@given(st.text(max_size=60) | st.text("[]{}&*!:,-'\"\\#|>?%@` \n\tab01.~<", max_size=60))
def test_any_text_is_read_or_refused_in_one_line(source: str) -> None:
    try:
        parse_yaml(source, "here")
    except ConfigError as error:
        lines = str(error).splitlines()
    else:
        lines = [""]
    assert len(lines) == 1


def test_the_longest_text_is_read_soon() -> None:
    began = time.process_time()
    assert len(parse_yaml("- 1\n" * (MOST_CHARACTERS // 4), "here")) == MOST_CHARACTERS // 4
    assert time.process_time() - began < 10.0
