"""Scorers for the workers of a test's fleet."""

from __future__ import annotations

import os
from collections.abc import Sequence

from rewards.turn import ScoredTurn


class Bright:
    """The mean grey value. Its process dies where `dies_once` names a file that is not there yet; then it is."""

    def __init__(self, dies_once: str = "") -> None:
        self._dies_once = dies_once

    def __call__(self, turns: Sequence[ScoredTurn]) -> list[float]:
        if self._dies_once and not os.path.exists(self._dies_once):
            open(self._dies_once, "w").close()
            os._exit(1)
        return [float(turn.image.mean()) / 255 for turn in turns]
