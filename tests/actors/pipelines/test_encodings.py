"""Encodings that are kept, and for how long."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.pipelines.encodings import Encodings

CPU = torch.device("cpu")


def told(text: str) -> tuple[torch.Tensor, torch.Tensor]:
    """(L, 2) numbers of the letters, and (1,) L."""
    return torch.tensor([[ord(letter), 1.0] for letter in text]), torch.tensor([float(len(text))])


class Asked:
    def __init__(self, prompts: list[str]) -> None:
        self.prompts, self.rows = prompts, []

    def __call__(self, rows: list[int]) -> tuple[torch.Tensor, ...]:
        self.rows += rows
        (row,) = rows
        return tuple(tensor.unsqueeze(0) for tensor in told(self.prompts[row]))


@settings(deadline=None)
@given(st.lists(st.lists(st.text("abcd", min_size=1, max_size=4), min_size=1, max_size=6), max_size=8))
def test_rows_are_those_of_their_prompts_whatever_was_asked_before(calls):
    encodings, known, encoded = Encodings(most=3), [], 0
    for prompts in calls:
        asked = Asked(prompts)
        letters, lengths = encodings.batch(prompts, asked, CPU)
        assert letters.shape == (len(prompts), max(map(len, prompts)), 2)
        for row, prompt in enumerate(prompts):
            assert torch.equal(letters[row, : len(prompt)], told(prompt)[0])
            assert not letters[row, len(prompt) :].any()
            assert lengths[row].tolist() == [len(prompt)]
            if prompt in known:
                known.remove(prompt)
            else:
                encoded += 1
            known = [*known, prompt][-3:]
        assert encodings.encoded == encoded


def test_those_that_nobody_asked_for_longest_go_first():
    encodings = Encodings(most=2)
    for prompt, missing in (("a", [0]), ("b", [0]), ("a", []), ("c", [0]), ("a", []), ("b", [0])):
        asked = Asked([prompt])
        encodings.batch([prompt], asked, CPU)
        assert asked.rows == missing
