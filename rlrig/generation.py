"""What `rlrig generate` does: one episode."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from presets.errors import BadInput
from rlrig.checks.dry_run import check_before_start
from rlrig.checks.preflight import check_models
from rlrig.trained_models import trained_models
from rollout.local_ray import ray_for_run
from rollout.seeds import derive_seed

if TYPE_CHECKING:
    from presets.run_config import RunConfig
    from rollout.progress import Progress
    from scenes.scene_graph import SceneGraph


def generate(
    config: RunConfig, graph: SceneGraph, run_dir: Path | None, out_dir: Path, seed: int, progress: Progress
) -> dict[str, Any]:
    """One episode, told while it is played: every image as PNG, and `trace.json`. Returns the trace."""
    from reports.episode_folder import write_episode
    from reports.episode_words import outcome, told
    from rollout.course import course
    from rollout.episode import draw_states, drive
    from rollout.models import start_models
    from rollout.state import Episode

    config = _for_one_episode(trained_models(config, run_dir))
    check_models(config)
    check_before_start(config, prompts=False)
    if problem := config.prompt_limits.refusal(graph):
        raise BadInput(f"prompt: {problem}")
    progress.start("generate", [])
    with ray_for_run(config.ray):
        with progress.phase("start"):
            models = start_models(config, progress)
        try:
            with progress.phase("generate"):
                base, episode = derive_seed(seed, "generate"), Episode(graph)
                (state,) = draw_states(models, [graph], [derive_seed(base, "draw", graph.img_id)])
                drive(models, [told(course(state, base, config.rollout.turns, episode), episode, progress.note)])
            trace = write_episode(episode, out_dir)
            progress.note(f"{outcome(episode)} → {out_dir}/episode.png")  # stopping takes seconds more
        finally:
            models.close(keep_serve=config.ray.address is None)
    return trace


def _for_one_episode(config: RunConfig) -> RunConfig:
    """The run with one worker of each kind, which is all that one image after the other keeps busy."""
    one = {"workers": 1, "max_workers": None}
    return config.model_copy(
        update={part: getattr(config, part).model_copy(update=one) for part in ("diffuser", "editor")}
    )
