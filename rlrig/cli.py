"""`rlrig`: train, submit, plan, status, eval, generate, serve, report, pages, results, chaos, doctor, pretrain.

Exit codes: 0 it worked; 1 the run failed, or the machine cannot run the preset; 2 bad input; 130 interrupted. Engines
are imported inside the commands, so that `--help` and bad input answer at once.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TextIO

import typer
from rich.console import Console

from rollout.cluster.cluster_cli import plan, submit
from rollout.command import FAILED, TINY, Json, Preset, Quiet, Run, Set, exit_codes, preset_at, settings
from rollout.config import RunConfig
from rollout.config_checks import changed_on_resume
from rollout.config_file import load_config, load_run_config
from rollout.errors import BadInput, RunFailed
from rollout.local_ray import only_ray_of_process
from rollout.pages_cli import pages
from rollout.progress import Progress, make_progress
from rollout.serve_cli import serve
from rollout.watching.status_cli import status

if TYPE_CHECKING:
    from rollout.storage import Mirror

JUDGE = Path(__file__).resolve().parent.parent / "presets" / "tiny" / "models" / "judge"

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="RL-RIG on Ray: draw, check, reflect, edit, and learn from it.",
    epilog="Exit codes: 0 it worked; 1 the run failed; 2 bad input; 130 interrupted.",
)


def new_run_folder(preset: Path) -> Path:
    """`runs/<preset>-<time>`."""
    return Path("runs") / f"{preset.resolve().parent.name}-{time.strftime('%Y%m%d-%H%M%S')}"


def _place_of(out: str, resume: bool) -> tuple[Mirror | None, Path]:
    """The folder that the run works in, and its mirror where `out` is a URI; to resume, the folder is made from it."""
    if "://" not in out:
        return None, Path(out)
    from rollout.storage import Mirror

    mirror = Mirror(out)
    folder = Path("runs") / mirror.name
    if resume:
        if folder.exists():  # what lies at the URI is what counts; nothing that was computed is thrown away
            folder.rename(folder.with_name(f"{folder.name}-before-{time.strftime('%Y%m%d-%H%M%S')}"))
        mirror.pull(folder)
    elif mirror.exists():
        raise BadInput(f"--out {out}: holds a run; choose another, or go on with --resume")
    return mirror, folder


def _config_of(run: Path | None, preset: Path, overrides: list[str]) -> RunConfig:
    """The configuration of a run's folder where one is given, else that of the preset."""
    return load_config(preset_at(preset), overrides) if run is None else load_run_config(run, overrides)


def _show(values: dict[str, Any], progress: Progress, as_json: bool, out: TextIO) -> None:
    if as_json:
        print(json.dumps({"event": "result", **values}, default=str), file=out, flush=True)
    else:
        progress.finish(values)


@app.command()
def train(
    preset: Preset = TINY,
    set_: Set = None,
    out: Annotated[
        str | None,
        typer.Option(help="Folder of the run, or a URI (s3://…) that runs/NAME is kept at; default runs/PRESET-TIME."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in --out.")] = False,
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    """Train, and write models, trajectories, metrics and a report into the run's folder."""
    with exit_codes(json_) as out_:
        if resume and out is None:
            raise BadInput("--resume: say which run with --out runs/NAME")
        mirror, folder = _place_of(out, resume) if out else (None, new_run_folder(preset))
        if resume:
            config = _config_of(folder, preset, settings(set_))
            if problems := changed_on_resume(_config_of(folder, preset, []), config):
                raise BadInput("\n".join(problems))
        else:
            config = load_config(preset_at(preset), settings(set_))
            if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
                raise BadInput(f"--out {folder}: exists and is not empty; choose another, or go on with --resume")
        from rollout.run import train as run_training

        with only_ray_of_process(config.ray), make_progress(quiet, json_, out=out_) as progress:
            run_training(config, folder, resume, progress, mirror)


for command in (submit, plan, status, serve, pages):
    app.command()(command)


@app.command("eval")
def evaluate(
    preset: Preset = TINY,
    set_: Set = None,
    run: Run = None,
    prompts: Annotated[int | None, typer.Option(min=1, help="Held-out prompts; default evaluation.prompts.")] = None,
    extractor: Annotated[
        Literal["exact", "openai"] | None,
        typer.Option(
            help="Reads scene graphs from images: exact (drawn shapes only; the default there), or openai: a VLM "
            "behind an OpenAI-compatible endpoint, in LAION-SG's protocol.",
        ),
    ] = None,
    base_url: Annotated[
        str | None, typer.Option(help="Endpoint of extractor and judge, e.g. https://api.openai.com/v1.")
    ] = None,
    extractor_model: Annotated[str | None, typer.Option(help="VLM of --extractor openai.")] = None,
    judge_model: Annotated[
        str | None, typer.Option(help="VLM that also says, requirement by requirement, whether the prompt is met.")
    ] = None,
    judge_mode: Annotated[
        Literal["per_requirement", "checklist"] | None,
        typer.Option(help="One plain question a requirement (the default), or one answer in JSON for all."),
    ] = None,
    api_key_env: Annotated[
        str | None,
        typer.Option(help="Environment variable with the endpoint's key, default OPENAI_API_KEY; '' sends no key."),
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(min=0.1, help="Seconds for one request, default 60; 5 times that with retries.")
    ] = None,
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    """Measure the preset's models, or those of a run, on held-out prompts."""
    with exit_codes(json_) as out_:
        overrides = [*settings(set_), *([f"evaluation.prompts={prompts}"] if prompts else [])]
        config = _config_of(run, preset, overrides)
        from rollout.measuring.measures import MeasureOptions, choose_measures, unmeasured

        options = MeasureOptions(extractor, base_url, extractor_model, judge_model, judge_mode, api_key_env, timeout)
        measures = choose_measures(options, config.data.source)
        from rollout.run import evaluate as run_evaluation

        with make_progress(quiet, json_, out=out_) as progress:
            metrics = run_evaluation(config, run, progress, measures)
            _show(metrics, progress, json_, out_)
        if problem := unmeasured(metrics):
            raise RunFailed(problem)


@app.command()
def generate(
    prompt: Annotated[str, typer.Argument(help="For example 'red circle left of blue square'; join more with '; '.")],
    preset: Annotated[Path, typer.Option("--preset", help="Run file.")] = TINY,
    set_: Set = None,
    run: Run = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the images; default runs/generate-TIME.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first image.")] = 0,
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    """Draw one prompt and correct it turn by turn; write every image and trace.json."""
    with exit_codes(json_) as out_:
        from scenes.scene_graph import parse_prompt
        from scenes.shape_world import PREDICATES

        try:
            graph = parse_prompt(prompt, PREDICATES)
        except ValueError as error:
            raise BadInput(str(error)) from error
        config = _config_of(run, preset, set_ or [])
        folder = out or Path("runs") / f"generate-{time.strftime('%Y%m%d-%H%M%S')}"
        from rollout.run import generate as run_generation

        with make_progress(quiet, json_, out=out_) as progress:
            trace = run_generation(config, graph, run, folder, seed, progress)
        if json_:
            _show(trace, progress, json_, out_)
        elif not quiet:
            print(f"{folder}/trace.json")


@app.command()
def report(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Folder of a run, or a URI (s3://…).")],
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the report; default the run's own, runs/report-TIME for several or a URI."),
    ] = None,
) -> None:
    """Write report.html, report.parquet and report.json about a run, or about several beside each other."""
    with exit_codes():
        from rollout.reporting.report import write_report

        alone = len(runs) == 1 and "://" not in runs[0]
        print(write_report(runs, out or (None if alone else Path("runs") / f"report-{time.strftime('%Y%m%d-%H%M%S')}")))


@app.command()
def doctor(
    preset: Preset = TINY,
    set_: Set = None,
    quick: Annotated[bool, typer.Option("--quick", help="Do not start the engines.")] = False,
    json_: Json = False,
) -> None:
    """Say whether this machine can run the preset, and what to do where it cannot."""
    with exit_codes(json_) as out_:
        from rollout.doctor import examine, show

        with Console(stderr=True).status("looking" if quick else "starting each engine once, about 30 s"):
            findings = examine(preset_at(preset), set_ or [], engines=not quick)
        if json_:
            for finding in findings:
                print(json.dumps(finding.as_dict()), file=out_, flush=True)
        else:
            show(findings, preset)
        if any(finding.blocks for finding in findings):
            raise typer.Exit(FAILED)


@app.command()
def results(
    preset: Preset = TINY,
    fast: Annotated[bool, typer.Option("--fast", help="A quick look: one seed, fewer prompts and updates.")] = False,
    judge: Annotated[Path, typer.Option(help="Folder of the judge, a VLM that is not the Checker.")] = JUDGE,
    work: Annotated[Path | None, typer.Option(help="Folder of runs and rows; what is there is not done again.")] = None,
    rows: Annotated[
        Path | None, typer.Option(help="Folder of what was measured, which is not measured again; default in --work.")
    ] = None,
    docs: Annotated[Path | None, typer.Option(help="Folder of the page; default docs, with --fast --work.")] = None,
    train_: Annotated[bool, typer.Option("--train/--no-train", help="Train what is missing, or leave it out.")] = True,
) -> None:
    """Train and evaluate every arm and sweep, and write the page with the results."""
    with exit_codes():
        from experiments.plan import FAST, FULL
        from experiments.results import make_results

        work = work or Path("runs") / ("results-fast" if fast else "results")
        page = docs or (work if fast else Path("docs"))
        console = Console()
        say = lambda text: console.print(f"{time.strftime('%H:%M:%S')} {text}", highlight=False)  # noqa: E731
        plan = FAST if fast else FULL
        failures = make_results(plan, preset_at(preset), judge, work, rows or work / "rows", page, say, train_)
        say(f"page: {page / 'results.md'}")
        if failures:
            raise RunFailed(f"{len(failures)} runs failed and are left out of the page; the same command tries again")


@app.command()
def chaos(
    preset: Preset = TINY,
    fast: Annotated[bool, typer.Option("--fast", help="Each part, fault and phase at least once.")] = False,
    kills: Annotated[bool, typer.Option("--kills", help="Only the 20 kills of a whole run at random moments.")] = False,
    work: Annotated[Path | None, typer.Option(help="Folder of the runs; what is there is not done again.")] = None,
    page: Annotated[Path | None, typer.Option(help="Default docs/faults.md; for a part, in --work.")] = None,
) -> None:
    """Hurt training runs, one part at a time, and write down what came of it."""
    with exit_codes():
        from experiments.faults.chaos import make_chaos

        if fast and kills:
            raise BadInput("--fast, --kills: give one of them; without either, all faults and kills are done")
        work = work or Path("runs") / ("chaos-fast" if fast else "chaos")
        page = page or (work if fast or kills else Path("docs")) / "faults.md"
        console = Console()
        say = lambda text: console.print(f"{time.strftime('%H:%M:%S')} {text}", highlight=False, markup=False)  # noqa: E731
        wanted = "fast" if fast else "kills" if kills else "all"
        report = make_chaos(wanted, preset_at(preset), work, page, say)
        say(f"page: {page}")
        if not report.sound:
            raise RunFailed(f"a fault lost a prompt, was trained on twice or could not be done; see {page}")


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
    short_help="Make the small models from scratch.",
)
def pretrain(context: typer.Context) -> None:
    """Make the small models; `rlrig pretrain --help` lists what there is."""
    with exit_codes():
        from learner.pretraining.cli import app as pretraining

        pretraining(args=context.args, prog_name="rlrig pretrain")


if __name__ == "__main__":
    app()
