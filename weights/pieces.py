"""A bucket that was never copied together: its tensors' bytes, each where it lies.

Ray's object store takes them over one by one, so that putting such a bucket is the only copy that is made of it, and a
reader sees each of them in place.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Pieces:
    """Byte arrays (uint8) that lie at `offsets`, ascending, in a bucket of `size` bytes; between them lies nothing."""

    arrays: list[np.ndarray]
    offsets: tuple[int, ...]
    size: int

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, wanted: slice) -> np.ndarray:
        """The bytes of one piece from its beginning on; none where no piece begins."""
        place = bisect_left(self.offsets, wanted.start)
        if place == len(self.offsets) or self.offsets[place] != wanted.start:
            return np.empty(0, np.uint8)
        return self.arrays[place][: wanted.stop - wanted.start]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """The bucket in one array, zeros between the pieces."""
        whole = np.zeros(self.size, np.uint8)
        for offset, array in zip(self.offsets, self.arrays, strict=True):
            whole[offset : offset + array.size] = array
        return whole if dtype is None else whole.astype(dtype, copy=False)
