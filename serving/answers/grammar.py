"""Which tokens a form allows at each place of an answer: what vLLM's engine samples from, for the learner to repeat."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
import xgrammar

from serving.answers.form import AnswerForm

_BITS = 32  # of a word of a mask


class AnswerGrammar:
    """A form, compiled for a tokenizer in the way of vLLM's xgrammar backend.

    Args:
        tokenizer: of transformers.
        vocabulary: number of logits, which may be more than the tokenizer's tokens.
        stops: ids of the tokens that end an answer, of the model's generation config.

    Raises:
        ValueError: the form cannot be compiled.
    """

    def __init__(self, form: AnswerForm, tokenizer: Any, vocabulary: int, stops: Iterable[int]) -> None:
        self._vocabulary, self._stops = vocabulary, sorted({*stops, tokenizer.eos_token_id} - {None})
        try:
            info = xgrammar.TokenizerInfo.from_huggingface(tokenizer, vocab_size=vocabulary)
            compiler = xgrammar.GrammarCompiler(info, max_threads=1)
            self._compiled = (
                compiler.compile_json_schema(form.schema_text)
                if form.regex is None
                else compiler.compile_regex(form.regex)
            )
        except (RuntimeError, ValueError, TypeError) as error:
            raise ValueError(f"rollout.answer_form cannot be compiled: {error}") from error

    def allowed(self, token_ids: Sequence[int]) -> torch.Tensor:
        """Masks (T, ⌈V / 32⌉) of int32 words: bit k of word w of row t is set where token 32·w + k might have come at
        place t, after the tokens before it.

        Raises:
            ValueError: a token that the form does not allow at its place, so that another engine has sampled it.
        """
        matcher = xgrammar.GrammarMatcher(self._compiled, override_stop_tokens=self._stops)
        masks: torch.Tensor = xgrammar.allocate_token_bitmask(len(token_ids), self._vocabulary)
        for place, token in enumerate(token_ids):
            matcher.fill_next_token_bitmask(masks, place)
            if not matcher.accept_token(token):
                raise ValueError(f"token {token} at place {place} of an answer is not of the form rollout.answer_form")
        return masks


def unpacked(masks: torch.Tensor, vocabulary: int) -> torch.Tensor:
    """Masks (…, ⌈V / 32⌉) as booleans (…, V)."""
    bits = masks.unsqueeze(-1) >> torch.arange(_BITS, dtype=masks.dtype, device=masks.device)
    return (bits & 1).bool().flatten(-2)[..., :vocabulary]
