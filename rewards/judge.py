"""The rewards of a job: its turns and episodes as scorers see them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from math import isnan
from typing import Protocol

import numpy as np

from actors.edit import Edit
from rewards.combination import Scale
from rewards.part import Worth
from rewards.reward import Memo, Reward
from rewards.satisfaction import improves
from rewards.turn import ScoredTurn, still_turn
from scenes.scene_graph import SceneGraph
from serving.actor import ActorAnswer

Result = tuple[Edit, list[float]]
"""An edit, and the Checker's answers about its image."""


class State(Protocol):
    """An image on its way to a scene graph, `rollout.state.State`."""

    @property
    def graph(self) -> SceneGraph: ...

    @property
    def image(self) -> np.ndarray: ...

    @property
    def satisfaction(self) -> list[float]: ...

    @property
    def prompt(self) -> int: ...


class Row(Protocol):
    """A turn that was sampled, `rollout.trajectory.Turn`."""

    @property
    def carried_on(self) -> bool: ...

    @property
    def reflection(self) -> str | None: ...

    @property
    def edit_prompt(self) -> str | None: ...

    @property
    def answer_text(self) -> str: ...

    @property
    def token_ids(self) -> list[int]: ...


class Judge:
    """Asks the reward about the turns of one job. Members of a group are those of one prompt.

    Args:
        reward_of: the image that a turn's reward is of, see `rollout.reward_of`.
    """

    def __init__(self, reward: Reward, stage: str, scales: Mapping[str, Scale], reward_of: str = "edited") -> None:
        self._reward, self._stage, self._scales, self._reward_of = reward, stage, scales, reward_of
        self._memo: Memo = {}

    def turns(
        self,
        states: Sequence[State],
        starts: Sequence[int],
        answers: Sequence[ActorAnswer],
        results: Mapping[int, Result],
    ) -> tuple[dict[int, Worth], dict[int, Worth]]:
        """What the states are worth as they are, by their index, and what the members' edits are worth, by theirs.
        An edit that is thrown away is worth what its start is, where rewards are of the kept image.

        Args:
            starts: the index of each member's state.
            answers: of each member.
            results: of the members with an edit.
        """
        firsts = sorted(set(starts))
        told = [
            still_turn(state.prompt, self._stage, state.graph, state.image, state.satisfaction)
            for state in (states[k] for k in firsts)
        ]
        told += [
            self._edited(states[starts[member]], answers[member], edit, after)
            for member, (edit, after) in results.items()
        ]
        worths = self._worth(told)
        stills = dict(zip(firsts, worths, strict=False))
        edits = dict(zip(results, worths[len(firsts) :], strict=True))
        for member, (_, after) in results.items():
            thrown_away = not improves(states[starts[member]].satisfaction, after)
            if self._reward_of == "kept" and thrown_away and not edits[member].missing:
                edits[member] = _in_its_place(stills[starts[member]], edits[member])
        return stills, edits

    def episodes(
        self, members: Collection[int], firsts: Sequence[State], lasts: Sequence[State], rows: Sequence[Sequence[Row]]
    ) -> dict[int, Worth]:
        """What whole episodes are worth, by member: as one turn from the first image to the one that they end with. Its
        texts are those of the edits that were kept, its tokens those of the longest answer.

        Args:
            firsts, lasts, rows: of all members; `members` says which of them are asked for.
        """
        told = []
        for k in members:
            first, last, kept = firsts[k], lasts[k], [row for row in rows[k] if row.carried_on]
            told.append(
                ScoredTurn(
                    group=first.prompt,
                    stage=self._stage,
                    graph=first.graph,
                    source=first.image,
                    image=last.image,
                    satisfaction_before=first.satisfaction,
                    satisfaction_after=last.satisfaction,
                    reflection="; ".join(row.reflection or "" for row in kept),
                    edit_prompt="; ".join(row.edit_prompt or "" for row in kept),
                    answer="\n".join(row.answer_text for row in rows[k]),
                    tokens=max(len(row.token_ids) for row in rows[k]),
                )
            )
        return dict(zip(members, self._worth(told), strict=True))

    def _edited(self, state: State, answer: ActorAnswer, edit: Edit, after: list[float]) -> ScoredTurn:
        texts = answer.reflection
        return ScoredTurn(
            group=state.prompt,
            stage=self._stage,
            graph=state.graph,
            source=state.image,
            image=edit.image,
            satisfaction_before=state.satisfaction,
            satisfaction_after=after,
            reflection="" if texts is None else texts.reflection,
            edit_prompt="" if texts is None else texts.edit_prompt,
            answer=answer.text,
            tokens=len(answer.token_ids),
        )

    def _worth(self, turns: Sequence[ScoredTurn]) -> list[Worth]:
        return self._reward.worth(self._stage, turns, self._scales, self._memo)


def _in_its_place(still: Worth, edit: Worth) -> Worth:
    """What a start is worth in the place of an edit, or nothing where a scorer gave a value for the edit alone: members
    with and without it cannot be compared."""
    pairs = zip(still.parts, edit.parts, strict=True)
    missing = tuple(one.name for one, other in pairs if isnan(one.part) and not isnan(other.part))
    return Worth.without(still.parts, missing) if missing else still
