"""`length`: answers no longer than they need to be."""

from __future__ import annotations

from collections.abc import Sequence

from rewards.turn import ScoredTurn


class Length:
    """0 up to `free` tokens, then falling in a line to −1 at `most` and beyond (the soft overlong punishment of DAPO,
    arXiv 2503.14476, equation 13).

    Args:
        most: tokens; by default `rollout.max_answer_tokens`.
        free: tokens; by default half of `most`.

    Raises:
        ValueError: not `0 <= free < most`.
    """

    def __init__(self, most: int, free: int | None = None) -> None:
        self._most, self._free = most, most // 2 if free is None else free
        if not 0 <= self._free < self._most:
            raise ValueError(f"free: {free} is refused: must be from 0 to below most = {most}")

    def __call__(self, turns: Sequence[ScoredTurn]) -> list[float]:
        """One value in [−1, 0] a turn."""
        return [0.0 - min(1.0, max(0, turn.tokens - self._free) / (self._most - self._free)) for turn in turns]
