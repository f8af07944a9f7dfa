"""What came of one prompt: the image, what the Checker says of it, and all that led to it."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from rollout.state import Episode


@dataclass(frozen=True)
class Drawing:
    """An episode that has ended. In a notebook, it shows itself.

    Attributes:
        episode: every image, with the texts and the Checker's probabilities.
    """

    episode: Episode

    @property
    def image(self) -> np.ndarray:
        """The last image that was kept, (H, W, 3) uint8."""
        return self.episode.answer.image

    @property
    def satisfaction(self) -> dict[str, float]:
        """The Checker's probability that each requirement holds in the image."""
        wanted = self.episode.graph.requirements
        return dict(zip([one.text for one in wanted], self.episode.answer.satisfaction, strict=True))

    @property
    def edits(self) -> list[str]:
        """What the editor was told, edit by edit, those included that were not kept."""
        return [frame.edit_prompt for frame in self.episode.frames if frame.edit_prompt is not None]

    def save(self, folder: str | Path) -> dict[str, Any]:
        """Write every image, `episode.png` and `trace.json`; returns the trace."""
        from reports.episode_folder import write_episode

        return write_episode(self.episode, Path(folder))

    def _repr_png_(self) -> bytes:
        from reports.drawing.episode_sheet import episode_sheet

        file = BytesIO()
        episode_sheet(self.episode).save(file, "PNG")
        return file.getvalue()
