"""`rlrig`: train, submit, plan, status, eval, generate, serve, report, ui, check-family, doctor, pretrain and more.

Exit codes: 0 it worked; 1 the run failed, or the machine cannot run the preset; 2 bad input; 130 interrupted. Engines
are imported inside the commands, so that `--help` and bad input answer at once.
"""

from __future__ import annotations

import json
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Annotated, Any, Literal, TextIO

import typer
from rich.console import Console

from presets.choice.chosen_config import config_of, models_of
from presets.choice.own_prompts import read_prompt
from presets.errors import RunFailed
from presets.places import TINY, preset_at
from reports.status.progress_display import make_progress
from rlrig.benchmark import Asked, BenchmarkOption, Images, Pictures, PromptFile, measure_benchmark
from rlrig.checks.family import check_family
from rlrig.checks.output import writable_file, writable_folder
from rlrig.cluster.cli import plan, submit
from rlrig.command import FAILED, Json, ModelsOption, Preset, Quiet, Run, Set, dated, exit_codes, settings
from rlrig.endpoint.cli import serve
from rlrig.fetch import fetch
from rlrig.status_cli import status
from rlrig.train_cli import train
from rlrig.ui_cli import ui
from rlrig.vlms.calibration import calibrate
from rlrig.vlms.parsing import parse_prompt
from rlrig.vlms.trial import try_vlm
from rlrig.vlms.tuning import sft_actor
from rollout.local_ray import only_ray_of_process
from rollout.progress import Progress
from scenes.harmless_text import harmless

ADDED = "rlrig.commands"  # entry points of this group are commands, too; `experiments/` brings some

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="RL-RIG on Ray: draw, check, reflect, edit, and learn from it.",
    epilog="Exit codes: 0 it worked; 1 the run failed; 2 bad input; 130 interrupted.",
)


def _show_version(asked: bool) -> None:
    if asked:
        print(f"rlrig {version('rlrig')}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None: ...


def _show(values: dict[str, Any], progress: Progress, as_json: bool, out: TextIO) -> None:
    if as_json:
        print(json.dumps({"event": "result", **values}, default=str), file=out, flush=True)
    else:
        progress.finish(values)


for command in (
    train, submit, plan, status, serve, ui, try_vlm, calibrate, parse_prompt, sft_actor, check_family, fetch,
):  # fmt: skip
    app.command()(command)


@app.command("eval")
def evaluate(
    preset: Preset = TINY,
    set_: Set = None,
    run: Run = None,
    prompts: Annotated[int | None, typer.Option(min=1, help="Held-out prompts, or the first of --benchmark.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="JSON file of means and scores, or folder of --benchmark; default in the run or in runs."),
    ] = None,
    extractor: Annotated[
        Literal["exact", "openai", "detector"] | None,
        typer.Option(
            help="Reads scene graphs from images: exact (drawn shapes only; the default there); openai: a VLM "
            "behind an OpenAI-compatible endpoint, in LAION-SG's protocol; detector: an open-vocabulary detector.",
        ),
    ] = None,
    base_url: Annotated[
        str | None, typer.Option(help="Endpoint of extractor and judge, e.g. https://api.openai.com/v1.")
    ] = None,
    extractor_model: Annotated[
        str | None, typer.Option(help="VLM of --extractor openai, or folder of --extractor detector.")
    ] = None,
    extractor_threshold: Annotated[
        float | None, typer.Option(help="Least score of a detection; default that of the detector's family.")
    ] = None,
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
    benchmark: BenchmarkOption = None,
    prompt_file: PromptFile = None,
    images: Images = None,
    pictures: Pictures = None,
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    """Measure the preset's models, or those of a run, on held-out prompts or a public benchmark's."""
    with exit_codes(json_) as out_:
        asked = Asked(benchmark, prompt_file, images, pictures, prompts, out)
        asked.refuse_alone()
        overrides = [*settings(set_), *([f"evaluation.prompts={prompts}"] if prompts and benchmark is None else [])]
        config = config_of(run, preset, overrides)
        from measuring.measures import MeasureOptions, unmeasured
        from measuring.truth import measures_for

        options = MeasureOptions(
            extractor, base_url, extractor_model, judge_model, judge_mode, api_key_env, timeout, extractor_threshold
        )
        if benchmark is not None:
            with only_ray_of_process(config.ray), make_progress(quiet, json_, out=out_) as progress:
                _show(measure_benchmark(config, run, asked, options, progress), progress, json_, out_)
            return
        measures = measures_for(options, config)
        from rlrig.evaluation import evaluate as run_evaluation

        file = writable_file(out or (run or Path("runs")) / f"{dated('eval')}.json")
        with only_ray_of_process(config.ray), make_progress(quiet, json_, out=out_) as progress:
            metrics = run_evaluation(config, run, progress, file, measures)
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
    models: ModelsOption = None,
    ray: Annotated[
        bool, typer.Option("--ray", help="Run the models on Ray and vLLM, also where they would fit into this process.")
    ] = False,
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    """Draw one prompt and correct it turn by turn; write every image and trace.json.

    Models of the shape world take its four relations; others any, as 'a red fox on top of a wooden table'.
    """
    with exit_codes(json_) as out_:
        config, run, trained = models_of(run, preset, set_ or [], models, data=False)
        graph = read_prompt(config, prompt)
        folder = writable_folder(out or Path("runs") / dated("generate"))
        from rlrig.generation import generate as run_generation

        with only_ray_of_process(config.ray), make_progress(quiet, json_, out=out_) as progress:
            if trained:
                progress.note("trained models; --models raw takes those that training starts from")
            trace = run_generation(config, graph, run, folder, seed, progress, ray)
        if json_:
            _show(trace, progress, json_, out_)


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
        from reports.report import write_report

        alone = len(runs) == 1 and "://" not in runs[0]
        folder = out or (None if alone else Path("runs") / dated("report"))
        print(harmless(str(write_report(runs, folder))))


@app.command()
def doctor(
    preset: Preset = TINY,
    set_: Set = None,
    quick: Annotated[bool, typer.Option("--quick", help="Do not start the engines.")] = False,
    json_: Json = False,
) -> None:
    """Say whether this machine can run the preset, and what to do where it cannot."""
    with exit_codes(json_) as out_:
        from rlrig.doctor import examine, show

        with Console(stderr=True).status("looking" if quick else "starting each engine once, about 30 s"):
            findings = examine(preset_at(preset), set_ or [], engines=not quick)
        if json_:
            for finding in findings:
                print(json.dumps(finding.as_dict()), file=out_, flush=True)
        else:
            show(findings, preset)
        if any(finding.blocks for finding in findings):
            raise typer.Exit(FAILED)


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
    short_help="Make the small models from scratch.",
)
def pretrain(context: typer.Context) -> None:
    """Make the small models; `rlrig pretrain --help` lists what there is."""
    with exit_codes():
        from learner.pretraining.cli import app as pretraining

        pretraining(args=context.args, prog_name="rlrig pretrain")


for added in sorted(entry_points(group=ADDED), key=lambda entry: entry.name):
    app.command(added.name)(added.load())

if __name__ == "__main__":
    app()
