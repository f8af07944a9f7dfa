"""What `rlrig eval --benchmark` does: a public benchmark's pictures, and our detector's numbers beside them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from presets.choice.fit import why_on_ray
from presets.choice.trained_models import trained_models
from presets.errors import BadInput
from rlrig.checks.dry_run import check_before_start
from rlrig.checks.output import writable_folder
from rlrig.checks.preflight import check_models
from rlrig.command import dated
from rlrig.local.players import players

if TYPE_CHECKING:
    from measuring.benchmarks.numbers import Eye
    from measuring.benchmarks.pictures import Folder
    from measuring.measures import MeasureOptions
    from presets.run_config import RunConfig
    from rollout.progress import Progress

Name = Literal["geneval", "geneval-position", "t2i-compbench-spatial", "visor", "laion-sg"]
BenchmarkOption = Annotated[
    Name | None, typer.Option("--benchmark", help="Draw the prompts of a public benchmark, in its scorer's layout.")
]
PromptFile = Annotated[Path | None, typer.Option(help="Prompt file of --benchmark, as the benchmark publishes it.")]
Images = Annotated[int | None, typer.Option(min=1, help="Pictures a prompt; default as the benchmark publishes.")]
Pictures = Annotated[
    Path | None, typer.Option(help="Measure the pictures in this folder, in the layout of --benchmark; draw none.")
]
EVALUATION = "evaluation.json"


@dataclass(frozen=True)
class Asked:
    """What was asked for. `prompts` are taken from the start of the file; None: all."""

    name: Name | None
    prompt_file: Path | None = None
    images: int | None = None
    pictures: Path | None = None
    prompts: int | None = None
    out: Path | None = None

    def refuse_alone(self) -> None:
        """Raises BadInput where an option of a benchmark was given without one."""
        given = {"--prompt-file": self.prompt_file, "--images": self.images, "--pictures": self.pictures}
        for option, value in given.items():
            if self.name is None and value is not None:
                raise BadInput(f"{option} {value}: nothing would use it; add --benchmark, or leave it out")


def measure_benchmark(
    config: RunConfig, run_dir: Path | None, asked: Asked, measures: MeasureOptions, progress: Progress
) -> dict[str, Any]:
    """Draw what is missing of a benchmark's pictures, and measure all of them where there is a detector.

    Returns:
        Means by images with their intervals, and where the pictures are.

    Raises:
        BadInput: options that do not fit, prompts that cannot be read or are beyond the models, or a folder whose
            pictures were made otherwise.
    """
    from measuring.benchmarks.numbers import score_pictures

    eye = _eye(config, measures)
    given = asked.pictures is not None
    if given and eye is None:
        raise BadInput("--pictures: needs what measures them; add --extractor detector and --extractor-model FOLDER")
    folder, prompts = _folder(asked)
    if given:
        progress.start("measure", [])
    else:
        _draw(trained_models(config, run_dir), folder, prompts, progress)
    name = folder.benchmark.name
    found: dict[str, Any] = {"benchmark": name, "prompts": len(folder.tasks), "folder": str(folder.path)}
    if eye is None:
        progress.note(f"pictures: {folder.path}; without --extractor detector, {name}'s own code measures them")
        return found
    with progress.phase("measure"):
        metrics, scores = score_pictures(folder, eye, given)
    if not any(one["pictures"] for one in metrics.values()):
        raise BadInput(
            f"--pictures {folder.path}: holds no picture where {name} has its first, "
            f"{folder.file('', next(folder.all)).relative_to(folder.path)}"
        )
    from reports.evaluation_file import write_evaluation

    made_of = {
        **found,
        "source": folder.benchmark.source,
        "licence": folder.benchmark.licence,
        "measured_by": {"ours": True, "detector": eye.name, "threshold": eye.threshold},
        "official_scorer": folder.benchmark.official,
    }
    written = write_evaluation(folder.path / EVALUATION, made_of, metrics, scores)
    progress.note(f"written: {folder.path / EVALUATION}; official numbers: {folder.benchmark.official}")
    return {**found, **metrics, "intervals": written["intervals"]}


def _folder(asked: Asked) -> tuple[Folder, Path]:
    """The pictures that are asked for, and the prompt file."""
    from measuring.benchmarks.pictures import Folder
    from measuring.benchmarks.suite import BENCHMARKS

    benchmark = BENCHMARKS[str(asked.name)]
    prompts = asked.prompt_file or benchmark.prompt_file
    if prompts is None:
        raise BadInput(
            f"--prompt-file: is missing; the prompts of {benchmark.name} do not come with the code. Get them from "
            f"{benchmark.source}, and give the file"
        )
    tasks = benchmark.read(prompts)[: asked.prompts]
    if not tasks:
        raise BadInput(f"--prompt-file {prompts}: holds no prompt that {benchmark.name} measures")
    if asked.pictures is not None and not asked.pictures.is_dir():
        raise BadInput(f"--pictures {asked.pictures}: is no folder")
    place = asked.pictures or writable_folder(asked.out or Path("runs") / dated(benchmark.name))
    return Folder(place, benchmark, tasks, asked.images or benchmark.images), prompts


def _draw(config: RunConfig, folder: Folder, prompts: Path, progress: Progress) -> None:
    from measuring.benchmarks.pictures import draw_missing, protocol_of, settle

    check_models(config)
    check_before_start(config, prompts=False)
    limits = config.prompt_limits
    for task in folder.tasks:
        if task.graph is not None and (problem := limits.refusal(task.graph)) is not None:
            raise BadInput(f"--benchmark {folder.benchmark.name}: prompt {task.text!r}: {problem}")
    settle(folder, protocol_of(config, folder, prompts))
    progress.start(folder.benchmark.name, [])
    missing = len(folder.missing())
    progress.note(f"{missing} of {len(folder.tasks) * folder.n} pictures are missing in {folder.path}")
    if not missing:
        folder.write_beside()
        return
    with players(config, why_on_ray(config) is not None, progress) as models, progress.phase("draw"):
        draw_missing(models, folder, config.rollout.turns, config.rollout.drawings, progress.note)


def _eye(config: RunConfig, measures: MeasureOptions) -> Eye | None:
    """The detector that options name, or else the one that measures the truth of the run."""
    from measuring.benchmarks.numbers import Eye
    from measuring.measures import choose_measures
    from presets.truth.source import truth_entry
    from rewards.detection.detector import Detector, DetectorSettings

    choose_measures(measures, config.data.source)  # refuses what does not fit
    if measures.extractor not in (None, "detector") or measures.judge_model is not None:
        raise BadInput("--benchmark: is measured by --extractor detector alone; leave other extractors and judges out")
    if measures.extractor == "detector":
        options: dict[str, Any] = {"model": measures.extractor_model, "threshold": measures.extractor_threshold}
    elif (entry := truth_entry(config)) is not None and entry.scorer == "detector":
        options = {key: value for key, value in entry.options.items() if key != "rule"}
    else:
        return None
    try:
        settings = DetectorSettings(**options)
    except (TypeError, ValueError) as error:
        raise BadInput(f"rewards, entry 'detector': options {options} are refused: {error}") from error
    return Eye(Detector(settings), Path(settings.model).name, settings.least_score)
