import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenes.json_answers import LONGEST, UnreadableAnswer, read_objects

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(max_size=6), VALUES, max_size=3)


@given(OBJECTS, st.booleans())
def test_json_is_read_as_it_is(value, indented):
    assert read_objects(json.dumps(value, indent=2 if indented else None)) == [value]


@given(OBJECTS)
def test_text_around_an_object_does_not_change_it(value):
    assert read_objects(f"It's this one:\n```json\n{json.dumps(value)}\n```\nThat's all.") == [value]


@given(st.lists(OBJECTS, min_size=1, max_size=4))
def test_several_objects_come_in_their_order(values):
    assert read_objects("\n\nor\n\n".join(json.dumps(value) for value in values)) == values


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{'a': 'b'}", {"a": "b"}),
        ("{'a': 'it\\'s', \"b\": \"it's\"}", {"a": "it's", "b": "it's"}),
        ("{'a': 'the cat's tail'}", {"a": "the cat's tail"}),
        ("{'a': 'say \"x\"'}", {"a": 'say "x"'}),
        ('{"a": [1, 2,], }', {"a": [1, 2]}),
        ('{"a": [[1, 2 , ] , ] ,\n}', {"a": [[1, 2]]}),
        ("{“a”: “b”, ‘c’: ‘d’}", {"a": "b", "c": "d"}),
        ("{'a': True, 'b': False, 'c': None, 'd': -1.5}", {"a": True, "b": False, "c": None, "d": -1.5}),
        ('{"a": "b, ] }",}', {"a": "b, ] }"}),
        ('{"a": "True,",}', {"a": "True,"}),
        ('{"a": "two\nlines"}', {"a": "two\nlines"}),
        ('{"a": "\\"x\\" and \\u00e9",}', {"a": '"x" and é'}),
    ],
)
def test_small_faults_are_repaired(text, value):
    assert read_objects(text) == [value]


def test_what_was_thought_before_the_answer_is_left_out():
    assert read_objects('<think>perhaps {"a": 1}</think>\n{"a": 2}') == [{"a": 2}]
    assert read_objects('{"a": "</think>"}') == [{"a": "</think>"}]


def test_braces_that_hold_no_object_are_passed_over():
    assert read_objects('As {a set} of {things}: {"a": 1}') == [{"a": 1}]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "the answer is empty"),
        ("  \n", "the answer is empty"),
        ("<think>{}</think>", "the answer is empty"),
        ("I cannot see the image.", "no JSON object"),
        ("[1, 2]", "no JSON object"),
        ('{"a": [1, 2', "is not closed"),
        ('{"a": "b', "is not closed"),
        ('{"a": {"b": 1}', "is not closed"),
        ('{"a": 1} or rather {"a": 2, "b"', "is not closed"),
        ('{"a": [1, 2}', "is not closed"),
        ('{"a" "b"}', "is broken"),
        ("{a: b}", "is broken"),
        ('{"a": 1] ', "is broken"),
        ("{" * 3000, "is not closed"),
        ('{"a":' + "[" * 20_000 + "]" * 20_000 + "}", "nested too deeply"),
        ("{}" * 60, "more than 50 objects"),
        ('{"a": "' + "b" * LONGEST + '"}', "longer than"),
    ],
)
def test_what_cannot_be_read_is_refused_with_what_is_wrong(text, problem):
    with pytest.raises(UnreadableAnswer, match=problem) as caught:
        read_objects(text)
    assert problem in caught.value.problem
    assert len(str(caught.value)) < 300


def test_hostile_answers_take_no_time():
    for text in ("{'" * 20_000, "{" + "'a" * 20_000, "{}}" * 16_000 + "{", '{"a" ' * 300 + "}" * 300, "{[" * 20_000):
        began = time.process_time()
        with pytest.raises(UnreadableAnswer):
            read_objects(text)
        assert time.process_time() - began < 5.0
