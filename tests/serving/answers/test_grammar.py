"""Which tokens a form allows, with a byte tokenizer, whose tokens can be told by hand."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from benchmarks.tiny_families.qwen_vl import byte_tokenizer
from serving.answers.form import AnswerForm
from serving.answers.grammar import AnswerGrammar, unpacked

END = "<|im_end|>"


@pytest.fixture(scope="module")
def tokenizer():
    made = byte_tokenizer()
    made.add_special_tokens({"additional_special_tokens": [END]})
    made.eos_token = END
    return made


def allowed(tokenizer, form, text, extra=40):
    """The characters that each place of a text allows, its end included."""
    vocabulary = len(tokenizer) + extra  # a model has more logits than its tokenizer tokens
    ids = tokenizer.encode(text, add_special_tokens=False)
    masks = AnswerGrammar(form, tokenizer, vocabulary, []).allowed(ids)
    rows = unpacked(masks, vocabulary)
    assert rows.shape == (len(ids), vocabulary)
    return ["".join(sorted(tokenizer.decode([k]) for k in row.nonzero()[:, 0].tolist())) for row in rows]


def test_each_place_allows_what_the_expression_does_and_the_end_where_it_is_whole(tokenizer):
    form = AnswerForm(regex="x[ab]{1,2}")
    assert allowed(tokenizer, form, "xa" + END) == ["x", "ab", "".join(sorted([END, "a", "b"]))]
    assert allowed(tokenizer, form, "xab" + END)[-1] == END


def test_a_schema_allows_its_objects_alone(tokenizer):
    schema = {"type": "object", "properties": {"edit": {"enum": ["go", "no"]}}, "required": ["edit"]}
    found = allowed(tokenizer, AnswerForm(json_schema=schema), '{"edit": "go"}' + END)
    assert found[0] == "{"
    assert set(found[10]) == {"g", "n"}
    assert found[-1] == END


def test_a_token_that_the_form_forbids_is_refused(tokenizer):
    with pytest.raises(ValueError, match="at place 1 of an answer is not of the form"):
        allowed(tokenizer, AnswerForm(regex="xa"), "xb")


def test_masks_unpack_word_by_word():
    words = torch.tensor([[-1, 5], [0, -(2**31)]], dtype=torch.int32)
    found = unpacked(words, 40)
    assert found.shape == (2, 40)
    assert found[0].nonzero()[:, 0].tolist() == [*range(32), 32, 34]
    assert not found[1].any()  # bit 63 is beyond the vocabulary
    assert unpacked(words, 64)[1].nonzero()[:, 0].tolist() == [63]


def test_a_form_says_one_thing_that_can_be_compiled(tokenizer):
    with pytest.raises(ValidationError, match="give either regex or json_schema"):
        AnswerForm()
    with pytest.raises(ValidationError, match="give either regex or json_schema"):
        AnswerForm(regex="a", json_schema={})
    with pytest.raises(ValueError, match=r"rollout\.answer_form cannot be compiled"):
        AnswerGrammar(AnswerForm(regex="(a"), tokenizer, len(tokenizer), [])
