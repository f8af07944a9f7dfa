"""An episode in words, while it is played and when it has ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rewards.satisfaction import HOLDS
from rollout.course import Course
from rollout.state import Episode, Frame


def told(steps: Course, episode: Episode, say: Callable[[str], None]) -> Course:
    """The same steps. Each image, and each answer that could not be read, is told as soon as it is there.

    Args:
        episode: what the steps fill.
    """
    images = unread = 0
    answer: Any = None
    while True:
        try:
            request, ended = steps.send(answer), False
        except StopIteration:
            request, ended = None, True
        for one in episode.unread[unread:]:
            say(f"turn {one.turn}: the answer could not be read ({one.reason}): {one.answer}")
        for number, frame in enumerate(episode.frames[images:], images):
            say(_frame(number, frame))
        images, unread = len(episode.frames), len(episode.unread)
        if ended:
            return episode
        assert request is not None
        answer = yield request


def outcome(episode: Episode) -> str:
    """How many requirements hold in the end, and after how many edits."""
    edits = len(episode.frames) - 1
    return f"{_standing(episode.answer.satisfaction)} after {edits} edit{'' if edits == 1 else 's'}"


def _frame(number: int, frame: Frame) -> str:
    standing = _standing(frame.satisfaction)
    if number == 0:
        return f"first image: {standing}"
    lost = "" if frame.kept else ", no better: discarded"
    return f"edit {number}: {frame.reflection} → {frame.edit_prompt} → {standing}{lost}"


def _standing(satisfaction: Sequence[float]) -> str:
    held = sum(value >= HOLDS for value in satisfaction)
    return f"{held} of {len(satisfaction)} {'holds' if held == 1 else 'hold'}"
