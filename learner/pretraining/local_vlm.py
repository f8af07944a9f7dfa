"""A small VLM in this process, asked in batches by plain transformers: no server, independent of any that serves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import AutoProcessor, Idefics3ForConditionalGeneration

from learner.pretraining.vae import images_to_tensor
from learner.pretraining.vlm import LessonEncoder
from scenes.dialogue import NO, YES

_ANSWER_TOKENS = 24


class LocalVlm:
    """A VLM folder, asked in batches without a server."""

    def __init__(self, folder: Path) -> None:
        self.processor = AutoProcessor.from_pretrained(folder)
        self.model = Idefics3ForConditionalGeneration.from_pretrained(folder).eval()
        self.encode = LessonEncoder(self.processor)

    def prompts(self, requests: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids and mask of the requests, padded on the left."""
        tokenizer = self.processor.tokenizer
        rows = [
            self.encode.head + ids + self.encode.turn
            for ids in tokenizer(list(requests), add_special_tokens=False).input_ids
        ]
        length = max(map(len, rows))
        ids = torch.tensor([[tokenizer.pad_token_id] * (length - len(row)) + row for row in rows])
        return ids, torch.tensor([[0] * (length - len(row)) + [1] * len(row) for row in rows])

    @torch.no_grad()
    def yes_probabilities(self, images: np.ndarray, requests: Sequence[str]) -> np.ndarray:
        """p(yes) / (p(yes) + p(no)) of each request about the image at the same place; float32 (N,)."""
        yes, no = (self.processor.tokenizer.convert_tokens_to_ids(word) for word in (YES, NO))
        found = []
        for start in range(0, len(requests), 64):
            ids, mask = self.prompts(requests[start : start + 64])
            pixels = images_to_tensor(images[start : start + 64])[:, None]
            logits = self.model(input_ids=ids, attention_mask=mask, pixel_values=pixels).logits[:, -1]
            found.append(torch.softmax(logits[:, [yes, no]], dim=-1)[:, 0].numpy())
        return np.concatenate(found)

    @torch.no_grad()
    def answers(self, images: np.ndarray, requests: Sequence[str], sample: bool) -> list[str]:
        """One answer to each request, greedy or sampled at temperature 1."""
        texts = []
        for start in range(0, len(requests), 64):
            ids, mask = self.prompts(requests[start : start + 64])
            made = self.model.generate(
                input_ids=ids,
                attention_mask=mask,
                pixel_values=images_to_tensor(images[start : start + 64])[:, None],
                max_new_tokens=_ANSWER_TOKENS,
                do_sample=sample,
            )
            texts += self.processor.tokenizer.batch_decode(made[:, ids.shape[1] :], skip_special_tokens=True)
        return texts
