"""What `rlrig eval` does: held-out metrics of a preset's models or of a run's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from presets.choice.picture_size import check_exact_extractor
from presets.choice.trained_models import trained_models
from presets.errors import BadInput
from rlrig.checks.dry_run import check_before_start
from rlrig.checks.preflight import check_models
from rlrig.local.players import players

if TYPE_CHECKING:
    from measuring.measures import Measures
    from presets.run_config import RunConfig
    from rollout.progress import Progress


def evaluate(
    config: RunConfig,
    run_dir: Path | None,
    progress: Progress,
    file: Path,
    measures: Measures | None = None,
    on_ray: bool = True,
) -> dict[str, Any]:
    """Held-out metrics of the preset's models, or of a run's, by `measures` or those that fit the data.

    Args:
        file: is written: the metrics with their intervals, the scores of single prompts, and the settings.
        on_ray: whether the models are on Ray and vLLM, or in this process.

    Returns:
        The metrics, and `intervals`.

    Raises:
        BadInput, RunFailed: an endpoint that `measures` asks refuses or does not answer; before any model starts.
    """
    from measuring.image_scorer import ExactExtractor
    from measuring.truth import truth_measures

    config = trained_models(config, run_dir)
    if not config.evaluation.prompts:
        raise BadInput("evaluation.prompts: 0 leaves nothing to measure; give --prompts 64, for example")
    check_models(config)
    check_before_start(config)
    measures = measures or truth_measures(config)
    if isinstance(measures.extractor, ExactExtractor):
        check_exact_extractor(config)
    progress.start("evaluate", [])
    with progress.phase("probe"):
        measures.probe()
    from measuring.evaluation import evaluate_models, own_reward
    from rollout.prompts import load_prompts

    data = load_prompts(config.data, config.seed)
    for note in data.notes:
        progress.note(note)
    reward = own_reward(config.rollout.reward)
    graphs = data.held_out[: config.evaluation.prompts]
    with players(config, on_ray, progress) as models, progress.phase("evaluate"):
        metrics, _, scores = evaluate_models(
            models, graphs, config.rollout.turns, measures, reward, config.rollout.drawings
        )
    for block in ("extraction", "judge"):
        for reason, count in metrics.get(block, {}).get("reasons", {}).items():
            progress.note(f"{block}: {count} images not scored: {reason}")
    from reports.evaluation_file import write_evaluation

    made_of = {
        "run": None if run_dir is None else str(run_dir),
        "prompts": len(graphs),
        "turns": config.rollout.turns,
        "settings": config.model_dump(mode="json"),
    }
    written = write_evaluation(file, made_of, metrics, scores)
    progress.note(f"written: {file}")
    return {"prompts": len(graphs), **metrics, "intervals": written["intervals"]}
