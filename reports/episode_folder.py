"""An episode as files: every image, one picture of the whole, one that moves, and `trace.json`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from reports.drawing.episode_animation import save_animation
from reports.drawing.episode_sheet import episode_sheet

if TYPE_CHECKING:
    from rollout.state import Episode


def write_episode(episode: Episode, folder: Path) -> dict[str, Any]:
    """Write every image, one picture of the whole (`episode.png`), one that moves (`episode.gif`) and `trace.json`;
    returns the trace."""
    folder.mkdir(parents=True, exist_ok=True)
    requirements = [requirement.text for requirement in episode.graph.requirements]
    turns = []
    for index, frame in enumerate(episode.frames):
        Image.fromarray(frame.image).save(folder / f"turn-{index}.png")
        turns.append(
            {
                "image": f"turn-{index}.png",
                "seed": frame.seed,
                "request": frame.request,
                "answer": frame.answer,
                "reflection": frame.reflection,
                "edit_prompt": frame.edit_prompt,
                "kept": frame.kept,
                "satisfaction": dict(zip(requirements, frame.satisfaction, strict=True)),
            }
        )
    episode_sheet(episode).save(folder / "episode.png")
    save_animation(episode, folder / "episode.gif")
    unread = [asdict(one) for one in episode.unread]
    trace = {
        "prompt": episode.graph.prompt,
        "prompt_id": episode.graph.img_id,
        "requirements": requirements,
        "turns": turns,
        "unread": unread,
    }
    (folder / "trace.json").write_text(json.dumps(trace, indent=2), encoding="utf-8")
    return trace
