"""What `rlrig generate` does: one episode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from presets.choice.fit import why_on_ray
from presets.choice.trained_models import trained_models
from presets.errors import BadInput
from rlrig.checks.dry_run import check_before_start
from rlrig.checks.preflight import check_models
from rollout.local_ray import ray_for_run
from rollout.seeds import derive_seed

if TYPE_CHECKING:
    from presets.run_config import RunConfig
    from rollout.episode import Players
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
    from reports.episode_folder import write_episode
    from reports.episode_words import outcome, told
    from rollout.course import course
    from rollout.episode import draw_states, drive
    from rollout.state import Episode

    config = _for_one_episode(trained_models(config, run_dir))
    check_models(config)
    check_before_start(config, prompts=False)
    if problem := config.prompt_limits.refusal(graph):
        raise BadInput(f"prompt: {problem}")
    progress.start("generate", [])
    with _models(config, on_ray, progress) as models:
        with progress.phase("generate"):
            base, episode = derive_seed(seed, "generate"), Episode(graph)
            (state,) = draw_states(models, [graph], [derive_seed(base, "draw", graph.img_id)], config.rollout.drawings)
            drive(models, [told(course(state, base, config.rollout.turns, episode), episode, progress.note)])
        trace = write_episode(episode, out_dir)
        progress.note(f"{outcome(episode)} → {out_dir}/episode.png")  # stopping takes seconds more
    return trace


@contextmanager
def _models(config: RunConfig, on_ray: bool, progress: Progress) -> Iterator[Players]:
    """The models, wherever they are to be, until the block is left."""
    reason = why_on_ray(config)
    if reason is None and not on_ray:
        from rlrig.local.models import load_models

        with progress.phase("start"):
            models = load_models(config, progress)
        yield models
        return
    from rollout.models import start_models

    progress.note(f"models on Ray and vLLM: {'--ray' if reason is None else reason}")
    with ray_for_run(config.ray):
        with progress.phase("start"):
            started = start_models(config, progress)
        try:
            yield started
        finally:
            started.close(keep_serve=config.ray.address is None)


def _for_one_episode(config: RunConfig) -> RunConfig:
    """The run with one worker of each kind, which is all that one image after the other keeps busy."""
    one = {"workers": 1, "max_workers": None}
    return config.model_copy(
        update={part: getattr(config, part).model_copy(update=one) for part in ("diffuser", "editor")}
    )
