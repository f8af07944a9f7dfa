"""Seeds: every random choice of a run follows from its seed and from what the choice is for."""

from __future__ import annotations

import zlib

import numpy as np


def derive_seed(seed: int, *purpose: int | str) -> int:
    """A seed in [0, 2³²), the range that a CPU generator of torch uses, for one purpose.

    Equal arguments give equal seeds; different ones give independent seeds.
    """
    words = [zlib.crc32(part.encode()) if isinstance(part, str) else part for part in purpose]
    return int(np.random.SeedSequence([seed, *words]).generate_state(1)[0])
