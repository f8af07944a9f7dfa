"""`rlrig pretrain`: make the small models from scratch, and measure them. Every step continues where it was stopped."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from learner.pretraining.cards import write_small_card

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Make the small models from scratch: vae, flux, checker, adapt, judge, weak-checker, actor. Then measure. "
    "`ship` adds trained ones.",
)
Out = Annotated[Path, typer.Option(help="Folder of the models.")]
Work = Annotated[Path, typer.Option(help="Folder of checkpoints and logs; delete it to begin anew.")]
Steps = Annotated[int | None, typer.Option(min=1, help="Optimizer steps; default that of the settings.")]
Start = Annotated[Path | None, typer.Option(help="Go on from the weights in this folder, with a new schedule.")]
MODELS = Path("presets/tiny/models")
TRAINED = Path("presets/tiny/trained")
WORK = Path("runs/pretrain")


def _given(threads: int = 1, **values: object) -> dict[str, Any]:
    """The options that were given; the others keep the defaults of the settings."""
    import torch

    torch.set_num_threads(threads)
    return {key: value for key, value in values.items() if value is not None}


@app.command()
def vae(steps: Steps = None, seed: int | None = None, work: Work = WORK) -> None:
    """The VAE (about 8 minutes on one core)."""
    from learner.pretraining.vae import VaeSettings, train_vae

    train_vae(VaeSettings(**_given(steps=steps, seed=seed)), work).save_pretrained(work / "vae")


@app.command()
def flux(
    steps: Steps = None,
    wrong_captions: Annotated[float | None, typer.Option(min=0, max=1, help="Share of wrong relations.")] = None,
    wrong_instructions: Annotated[float | None, typer.Option(min=0, max=1, help="Share of wrong moves.")] = None,
    drawings: Annotated[int | None, typer.Option(min=1, help="Scenes in a batch.")] = None,
    singles: Annotated[int | None, typer.Option(min=1, help="Pictures of one object in a batch.")] = None,
    edits: Annotated[int | None, typer.Option(min=1, help="Edits in a batch.")] = None,
    seed: int | None = None,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
    start: Start = None,
    out: Out = MODELS,
    work: Work = WORK,
) -> None:
    """The pipeline that draws and edits (about 1 s a step on one core). It needs the VAE, or --start."""
    from diffusers import AutoencoderKL, FluxKontextPipeline

    from learner.pretraining.flux import FluxSettings, train_flux
    from learner.pretraining.flux_model import new_pipeline

    shares = {"wrong_captions": wrong_captions, "wrong_instructions": wrong_instructions}
    batch = {"drawings": drawings, "singles": singles, "edits": edits}
    settings = FluxSettings(**_given(threads, steps=steps, seed=seed, **shares, **batch))
    if start is None:
        pipeline = new_pipeline(settings.seed)
        pipeline.register_modules(vae=AutoencoderKL.from_pretrained(_needed(work / "vae", "vae")))
    else:
        pipeline = FluxKontextPipeline.from_pretrained(_needed(start, "flux"))
    train_flux(pipeline, settings, work)
    pipeline.save_pretrained(out / "flux")
    write_small_card(out / "flux")


@app.command()
def checker(steps: Steps = None, seed: int | None = None, start: Start = None, work: Work = WORK) -> None:
    """The Checker, on drawn scenes (about 0.5 s a step on one core)."""
    from learner.pretraining.vlm import CheckerSettings, train_checker
    from learner.pretraining.vlm_model import load, new_model, new_processor, save

    settings = CheckerSettings(**_given(steps=steps, seed=seed))
    if start is None:
        processor = new_processor()
        model = new_model(processor, settings.seed)
    else:
        model, processor = load(_needed(start, "checker"))
    train_checker(model, processor, settings, work)
    save(model, processor, work / "checker")


@app.command()
def adapt(
    steps: Steps = None, seed: int | None = None, start: Start = None, out: Out = MODELS, work: Work = WORK
) -> None:
    """The Checker, on pictures that the pipeline makes (about 8 minutes on one core)."""
    from actors.flux_model import FluxModel
    from learner.pretraining.checker_adaptation import AdaptationSettings, adapt_checker
    from learner.pretraining.vlm_model import load, save

    settings = AdaptationSettings(**_given(steps=steps, seed=seed))
    model, processor = load(_needed(start or work / "checker", "checker"))
    adapt_checker(model, processor, FluxModel(_needed(out / "flux", "flux")), settings, work)
    write_small_card(save(model, processor, out / "checker"))


@app.command()
def judge(steps: Steps = None, seed: int = 21, start: Start = None, out: Out = MODELS, work: Work = WORK) -> None:
    """The judge of evaluations: smaller than the Checker, with another seed and other data (about 12 minutes). With
    --start it is only adapted to the pictures that the pipeline makes now."""
    from actors.flux_model import FluxModel
    from learner.pretraining.checker_adaptation import AdaptationSettings, adapt_checker
    from learner.pretraining.vlm import CheckerSettings, train_checker
    from learner.pretraining.vlm_model import load, new_model, new_processor, save

    settings = CheckerSettings(existence=2, **_given(steps=steps, seed=seed))
    if start is None:
        processor = new_processor()
        model = new_model(processor, settings.seed, width=96, layers=3)
        train_checker(model, processor, settings, work / "judge")
    else:
        model, processor = load(_needed(start, "judge"))
    flux = FluxModel(_needed(out / "flux", "flux"))
    adapt_checker(model, processor, flux, AdaptationSettings(seed=settings.seed), work / "judge")
    write_small_card(save(model, processor, out / "judge"))


@app.command("weak-checker")
def weak_checker(steps: Steps = None, seed: int | None = None, out: Out = MODELS, work: Work = WORK) -> None:
    """A Checker with a flaw that policies can use, to show that gaming is found (about 3 minutes on one core)."""
    from learner.pretraining.vlm_model import load, save
    from learner.pretraining.weak_checker import WeakCheckerSettings, weaken_checker

    settings = WeakCheckerSettings(**_given(steps=steps, seed=seed))
    model, processor = load(_needed(out / "checker", "checker"))
    weaken_checker(model, processor, settings, work)
    write_small_card(save(model, processor, out / "weak-checker"))


@app.command()
def actor(
    steps: Steps = None,
    habit: Annotated[float | None, typer.Option(min=0, max=1, help="Share of answers that follow the habit.")] = None,
    habit_steps: Annotated[int | None, typer.Option(min=0, help="Steps in which the habit is taught.")] = None,
    seed: int | None = None,
    start: Start = None,
    out: Out = MODELS,
    work: Work = WORK,
) -> None:
    """The Actor, from the Checker's weights or those in --start (about 20 minutes on two cores)."""
    from learner.pretraining.vlm import ActorSettings, train_actor
    from learner.pretraining.vlm_model import load, save

    settings = ActorSettings(**_given(steps=steps, habit=habit, habit_steps=habit_steps, seed=seed))
    model, processor = load(_needed(start or work / "checker", "checker"))
    train_actor(model, processor, settings, work)
    write_small_card(save(model, processor, out / "actor"))


@app.command()
def ship(
    run: Annotated[Path, typer.Argument(help="A finished run of presets/tiny/run.yaml.")],
    out: Annotated[Path, typer.Option(help="Folder of the trained models, beside that of the others.")] = TRAINED,
) -> None:
    """Put what a run has trained beside the small models, in half precision."""
    from learner.pretraining.shipped import ship_trained

    commands = [
        f"rlrig train presets/tiny/run.yaml --out {Path('runs') / run.name}",
        f"rlrig pretrain ship runs/{run.name}",
    ]
    try:
        ship_trained(run, out.parent / MODELS.name, out, commands)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="RUN") from error


@app.command()
def measure(
    out: Out = MODELS, prompts: Annotated[int, typer.Option(min=8, help="Held-out prompts.")] = 512, seed: int = 9
) -> None:
    """Print what the models can do on held-out prompts, beside what is asked of them; exit code 1 if one misses."""
    models = _needed(out / "flux", "flux").parent  # before what takes seconds to import

    from rich.console import Console
    from rich.table import Table

    from learner.pretraining.measure import measure_models

    _given()
    results = measure_models(models, prompts, seed)
    table = Table("model", "what", "value", "must be", "cases", "met")
    for one in results:
        must = f"{one.low:.2f} to {one.high:.2f}"
        table.add_row(one.model, one.what, f"{one.value:.3f}", must, str(one.cases), "yes" if one.met else "no")
    Console(width=100).print(table)
    if not all(one.met for one in results):
        raise typer.Exit(1)


def _needed(path: Path, command: str) -> Path:
    if not path.is_dir():
        raise typer.BadParameter(f"{path} does not exist; name another folder, or run `rlrig pretrain {command}` first")
    return path
