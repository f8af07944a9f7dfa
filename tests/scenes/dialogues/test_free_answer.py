"""What real models write around a reflection and an edit prompt, and what must not be taken for one."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenes.dialogue import Reflection, UnparsableAnswer
from scenes.dialogues.free_answer import read_free_answer
from scenes.dialogues.general import General
from scenes.dialogues.texts import Texts
from scenes.scene_graph import Requirement

EXAMPLE = Reflection(Texts().reflection, Texts().edit)
SEEN, ASKED = "The cat is right of the dog.", "Move the cat to the left of the dog."
PLAIN = f"Reflection: {SEEN}\nEdit: {ASKED}"
TAKEN = {
    "as asked": PLAIN,
    "other case": f"REFLECTION: {SEEN}\nedit: {ASKED}",
    "blanks": f"  \n Reflection :  {SEEN}  \n\n  Edit :{ASKED}\n\n",
    "bold": f"**Reflection:** {SEEN}\n**Edit:** {ASKED}",
    "bold label": f"**Reflection**: {SEEN}\n**Edit**: {ASKED}",
    "headings": f"## Reflection:\n{SEEN}\n\n## Edit:\n{ASKED}",
    "list": f"- Reflection: {SEEN}\n- Edit: {ASKED}",
    "numbers": f"1. Reflection: {SEEN}\n2. Edit: {ASKED}",
    "numbers in brackets": f"1) Reflection: {SEEN}\n2) Edit prompt: {ASKED}",
    "quoted": f'Reflection: "{SEEN}"\nEdit: "{ASKED}"',
    "typographic quotes": f"Reflection: “{SEEN}”\nEdit: “{ASKED}”",
    "fence": f"```\n{PLAIN}\n```",
    "fence with a language": f"Here you are:\n```text\n{PLAIN}\n```\nI hope that helps.",
    "edit prompt": f"Reflection: {SEEN}\nEdit Prompt: {ASKED}",
    "edit instruction": f"Reflection: {SEEN}\nEdit instruction: {ASKED}",
    "instruction": f"Observation: {SEEN}\nInstruction: {ASKED}",
    "wide colon": f"Reflection： {SEEN}\nEdit：{ASKED}",
    "small colon": f"Reflection﹕ {SEEN}\nEdit﹕ {ASKED}",
    "several lines": "Reflection: The cat is\nright of the dog.\nEdit: Move the cat to the\nleft of the dog.",
    "next line": f"Reflection:\n{SEEN}\nEdit:\n{ASKED}",
    "thought": f"<think>Edit: no, wait. The cat …</think>\n{PLAIN}",
    "thought without a beginning": f"I should look first.\n</think>\n\n{PLAIN}",
    "talk before": f"Let me look at the picture.\n\n{PLAIN}",
    "talk after": f"{PLAIN}\n\nThis makes requirement 1 hold.",
    "twice, the last counts": f"Reflection: It is dark.\nEdit: Make it bright.\n\n{PLAIN}",
    "the other order": f"Edit: {ASKED}\nReflection: {SEEN}",
    "json": json.dumps({"reflection": SEEN, "edit": ASKED}),
    "json in a fence": f"```json\n{json.dumps({'Reflection': SEEN, 'Edit Prompt': ASKED}, indent=2)}\n```",
    "json with single quotes": f"{{'reflection': '{SEEN}', 'edit_prompt': '{ASKED}'}}",
    "json and more keys": json.dumps({"requirement": 1, "reflection": SEEN, "edit": ASKED, "confidence": 0.9}),
    "the example, then an own answer": f"Reflection: {EXAMPLE.reflection}\nEdit: {EXAMPLE.edit_prompt}\n\n{PLAIN}",
}
NOT_TAKEN = {
    "nothing": ("", "empty"),
    "blanks": (" \n\t ", "empty"),
    "talk": ("The picture looks good to me.", "no edit"),
    "no edit": (f"Reflection: {SEEN}", "no edit"),
    "no reflection": (f"Edit: {ASKED}", "no reflection"),
    "an empty edit": (f"Reflection: {SEEN}\nEdit:", "no edit"),
    "marks for an edit": (f"Reflection: {SEEN}\nEdit: ...", "no edit"),
    "a placeholder": (f"Reflection: {SEEN}\nEdit: <one instruction>", "no edit"),
    "a placeholder in brackets": (f"Reflection: [what is wrong]\nEdit: {ASKED}", "no reflection"),
    "the example": (f"Reflection: {EXAMPLE.reflection}\nEdit: {EXAMPLE.edit_prompt}", "repeats the example"),
    "the example's edit": (f"Reflection: {SEEN}\nEdit: {EXAMPLE.edit_prompt.upper()}", "repeats the example"),
    "a thought that does not end": (f"<think>\nPerhaps this:\n{PLAIN}", "within its thoughts"),
    "an empty answer after a thought": (f"<think>{PLAIN}</think>", "empty"),
    "a fence alone": ("```\n```", "empty"),
    "json without an edit": (json.dumps({"reflection": SEEN}), "no edit"),
    "json with a list": (json.dumps({"reflection": SEEN, "edit": [ASKED]}), "no edit"),
    "json that was cut off": (f'{{"reflection": "{SEEN}", "edit": "Move the', "no edit"),
    "a word that holds the label": (f"Reflections on art. Credit: {ASKED}", "no edit"),
    "a circle": (PLAIN * 2_000, "longer than"),
}


@pytest.mark.parametrize("answer", TAKEN.values(), ids=TAKEN)
def test_what_models_write_is_read(answer: str) -> None:
    assert read_free_answer(answer, EXAMPLE) == Reflection(SEEN, ASKED)


@pytest.mark.parametrize(("answer", "why"), NOT_TAKEN.values(), ids=NOT_TAKEN)
def test_what_says_nothing_is_refused_with_the_reason(answer: str, why: str) -> None:
    with pytest.raises(UnparsableAnswer, match=why):
        read_free_answer(answer, EXAMPLE)


@given(st.text(max_size=400))
def test_no_text_is_an_error_of_another_kind_nor_gives_an_empty_edit(text: str) -> None:
    for answer in (text, f"{text}\nReflection: {text}\nEdit: {text}", f"{text}{PLAIN}{text}"):
        try:
            found = read_free_answer(answer, EXAMPLE)
        except UnparsableAnswer:
            continue
        assert any(letter.isalpha() for letter in found.edit_prompt)
        assert any(letter.isalpha() for letter in found.reflection)
        assert found.edit_prompt != EXAMPLE.edit_prompt


WORD = st.sampled_from(("a", "cat", "left", "of", "the", "red", "Dog", "and", "two", "blue-grey", "birds"))
WORDS = st.lists(WORD, min_size=1, max_size=12)


@given(WORDS, WORDS, st.sampled_from([":", " :", "："]), st.sampled_from(["", "**", "- ", "> "]), st.booleans())
def test_any_words_come_back_as_they_were(
    seen: list[str], asked: list[str], colon: str, dress: str, upper: bool
) -> None:
    labels = [label.upper() if upper else label for label in ("Reflection", "Edit")]
    seen_text, asked_text = " ".join(seen), " ".join(asked)
    answer = f"{dress}{labels[0]}{colon} {seen_text}\n{dress}{labels[1]}{colon} {asked_text}"
    assert read_free_answer(answer, EXAMPLE) == Reflection(seen_text, asked_text)


def test_the_request_s_own_text_is_no_answer() -> None:
    requirements = (Requirement("cat", "left of", "dog"),)
    with pytest.raises(UnparsableAnswer, match="repeats the example"):
        General().read(General().request(requirements, requirements))
