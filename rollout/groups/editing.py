"""The edits of members: how each is sampled, and those that are sampled alike in one call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from actors.edit import Edit
from actors.flow_path import FlowOde, FlowSde
from presets.images import EditorConfig
from rollout.state import State

if TYPE_CHECKING:
    from rollout.models import Models


class Editing:
    """How edits are sampled while `stage` trains: by the ODE, or while the editor trains as `algorithm` asks.

    Args:
        prompts_per_update: prompts of the run's stream that count as an update, after which an SDE window may move.
    """

    def __init__(self, editor: EditorConfig, algorithm: str, prompts_per_update: int) -> None:
        self._editor, self._algorithm, self._prompts = editor, algorithm, prompts_per_update

    def sampling(self, prompt: int) -> FlowSde | FlowOde:
        """How the edits of the prompt at this position are sampled while the editor trains."""
        return self._editor.sampling(self._algorithm, prompt // self._prompts)

    def edits(
        self, models: Models, stage: str, states: Sequence[State], prompts: Sequence[str], seeds: Sequence[int]
    ) -> list[Edit]:
        """One edit of each state's image."""
        ways = [self.sampling(state.prompt) if stage == "editor" else None for state in states]
        found: dict[int, Edit] = {}
        for way in dict.fromkeys(ways):
            rows = [row for row, other in enumerate(ways) if other == way]
            edits = models.editor.edit(
                [states[row].image for row in rows],
                [prompts[row] for row in rows],
                [seeds[row] for row in rows],
                sde=way,
                steps=self._editor.steps,
            )
            found |= dict(zip(rows, edits, strict=True))
        return [found[row] for row in range(len(states))]
