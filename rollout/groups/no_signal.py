"""Prompts that carry no signal: how many a run bears, and why, in words that name the cause and the remedy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from presets.errors import RunFailed
from presets.settings import RolloutConfig
from rewards.part import by_scorer
from rollout.trajectory import Turn

ANSWERS = 32
"""If none of the first so many answers of a run can be parsed, none will be: the Actor does not know the dialogue."""
_SHOWN = 200
_REASONS = 3
_ALL_HOLD = 0.95


class NoSignal(RunFailed):
    """Nothing can be learned from what was sampled; `turns` is what that was."""

    def __init__(self, message: str, turns: Sequence[Turn]) -> None:
        super().__init__(message)
        self.turns = list(turns)


class SignalWatch:
    """Prompts without a signal since the last update, and whether any answer of the run could be parsed."""

    def __init__(self, settings: RolloutConfig) -> None:
        self._settings = settings
        self._missed: list[Turn] = []
        self._prompts = 0
        self._unread: list[Turn] | None = []  # until an answer could be parsed

    def missed(self, turns: list[Turn]) -> None:
        """A prompt carried no signal; `turns` are its own."""
        self._missed += turns
        self._prompts += 1

    def taken(self) -> list[Turn]:
        """The turns of the prompts without a signal since this was asked before."""
        turns, self._missed, self._prompts = self._missed, [], 0
        return turns

    def refuse_in_vain(self, turns: Sequence[Turn]) -> None:
        """Take in the turns that have just come.

        Raises:
            NoSignal: none of the first answers could be parsed, or too many prompts carry no signal.
        """
        if self._unread is not None:
            self._unread += turns
            if any(turn.edit_prompt is not None for turn in turns):
                self._unread = None
            elif len(self._unread) >= ANSWERS:
                raise NoSignal(unparsed(self._unread, self._settings), self._unread)
        if self._prompts >= self._settings.max_tries * self._settings.prompts_per_update:
            raise NoSignal(
                f"{self._prompts} prompts in a row for one update had groups of equal rewards only "
                f"(rollout.max_tries = {self._settings.max_tries}): {cause(self._missed, self._settings)}",
                self._missed,
            )


def teaches(turn: Turn, settings: RolloutConfig) -> bool:
    """Whether the policy that trains can learn from this turn."""
    cut = turn.stage == "actor" and turn.truncated is True and not settings.learn_truncated
    return not turn.dropped and not cut


def unparsed(turns: Sequence[Turn], settings: RolloutConfig) -> str:
    """What to say where no answer of these turns could be parsed."""
    cut = sum(turn.truncated is True for turn in turns)
    reasons = ", ".join(f"{why} {count}" for why, count in Counter(turn.unread for turn in turns).most_common(_REASONS))
    answer = " ".join(turns[0].answer_text.split())
    remedy = "set rollout.dialogue to one that the Actor knows, general for example, or train it on this one first"
    if 2 * cut > len(turns):
        remedy = "most were cut off: raise rollout.max_answer_tokens"
    return (
        f"none of {len(turns)} answers could be parsed in the dialogue {settings.dialogue!r} ({reasons}); the first: "
        f"{answer[:_SHOWN]!r}; {remedy}"
    )


def cause(turns: Sequence[Turn], settings: RolloutConfig) -> str:
    """Why the groups of these turns, all without a signal, had equal rewards, and what helps."""
    if not turns:
        return "the first images meet all requirements: ask for more relations (data.relations)"
    if all(turn.edit_prompt is None for turn in turns):
        return unparsed(turns, settings)
    if not settings.learn_truncated and all(turn.truncated for turn in turns):
        return (
            "all answers were cut off, and rollout.learn_truncated is false: raise rollout.max_answer_tokens, or learn "
            "from such answers, too"
        )
    unscored = Counter(turn.rejected for turn in turns if by_scorer(turn.rejected))
    if 2 * sum(unscored.values()) > len(turns):
        told = ", ".join(f"{reason} {count} times" for reason, count in unscored.most_common(_REASONS))
        return f"{told}: the EnvRunners' logs say why; mend the scorer, or let rewards go without it (required: false)"
    reward = float(np.mean([turn.reward for turn in turns if np.isfinite(turn.reward)] or [np.nan]))
    if reward >= _ALL_HOLD:
        return f"their mean reward is {reward:.2f}: there is nothing left to learn"
    share = np.mean([turn.edit_prompt is None for turn in turns])
    return (
        f"their mean reward is {reward:.2f}, and {share:.0%} of the answers could not be parsed: raise "
        "rollout.group_size or rollout.sampling_temperature"
    )
