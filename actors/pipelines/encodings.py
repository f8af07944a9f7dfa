"""What text encoders made of prompts that were asked before."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence

import torch
from torch.nn.utils.rnn import pad_sequence

MOST = 128
"""Prompts that are kept: those of an update of the large presets; about 1 GiB of CPU memory with FLUX.2 klein."""

Encoding = tuple[torch.Tensor, ...]


class Encodings:
    """Encodings of prompts in CPU memory, so that text encoders which left the GPU seldom have to come back. Each
    prompt is encoded by itself: what it becomes does not depend on who was asked with it, nor on whether it is known.

    Args:
        most: prompts that are kept; those that were not asked for the longest time go first.

    Attributes:
        encoded: how many prompts had to be encoded.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._known: OrderedDict[Hashable, Encoding] = OrderedDict()
        self.encoded = 0

    def batch(
        self, keys: Sequence[Hashable], encode: Callable[[list[int]], Encoding], device: torch.device
    ) -> Encoding:
        """Each tensor of the encodings, with a row for each key, on `device`. Rows that differ in length, the second
        dimension of a batch, are filled up with zeros at their end.

        Args:
            keys: what an encoding depends on.
            encode: the encoding of the keys at these places, as batches of so many rows.
        """
        rows = []
        for place, key in enumerate(keys):
            if key not in self._known:
                self._known[key] = tuple(tensor[0].cpu() for tensor in encode([place]))
                self.encoded += 1
            self._known.move_to_end(key)
            rows.append(self._known[key])
            while len(self._known) > self._most:
                self._known.popitem(last=False)
        return tuple(pad_sequence(list(tensors), batch_first=True).to(device) for tensors in zip(*rows, strict=True))
