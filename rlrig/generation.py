"""What `rlrig generate` does: one episode."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from presets.choice.trained_models import trained_models
from rlrig.library.models import Models

if TYPE_CHECKING:
    from presets.run_config import RunConfig
    from rollout.progress import Progress
    from scenes.scene_graph import SceneGraph


def generate(
    config: RunConfig,
    graph: SceneGraph,
    run_dir: Path | None,
    out_dir: Path,
    seed: int,
    progress: Progress,
    on_ray: bool = False,
) -> dict[str, Any]:
    """One episode, told while it is played: every image as PNG, and `trace.json`. Returns the trace.

    Small models are loaded into this process. Others, or all with `on_ray`, run on Ray and vLLM.
    """
    from reports.episode_words import outcome

    models = Models(trained_models(config, run_dir), progress, on_ray)
    models.check(graph)
    progress.start("generate", [])
    with models.open():
        with progress.phase("generate"):
            drawing = models.draw(graph, seed)
        trace = drawing.save(out_dir)
        progress.note(f"{outcome(drawing.episode)} → {out_dir}/episode.png")  # stopping takes seconds more
    return trace
