"""What is looked at before anything expensive starts: that model folders can be loaded, adapters put in, loggers used,
and that disk and cluster have room."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from presets.checks import own_code
from presets.choice.picture_size import check_picture_size
from presets.disk import trajectories_on_disk
from presets.errors import BadInput
from presets.memory.run_devices import check_memory
from presets.memory.sizes import Sizes, latent_shape
from presets.run_file import model_source
from scenes.entry_point import EntryPointError, load_entry_point
from serving.model_folder import BrokenModelFolder, check_model_folder

if TYPE_CHECKING:
    from presets.run_config import RunConfig

_GIB = 2**30
_PIPELINE_PARTS = ("vae", "transformer", "text_encoder", "text_encoder_2")


def check_own_code(config: RunConfig) -> None:
    """Import the code that the user brings.

    Raises:
        BadInput: it is not there, cannot be imported, or is not what its key needs; a line for each key.
    """
    problems = []
    for key, value in own_code(config).items():
        try:
            if key.endswith(".family"):
                from actors.model_families import own_drawer, own_editor
                from actors.pipelines.folder import ModelLoadError  # these load torch

                try:
                    (own_drawer if key == "diffuser.family" else own_editor)(value)
                except ModelLoadError as error:
                    problems.append(str(error))
            else:
                load_entry_point(key, value)
        except EntryPointError as error:
            problems.append(str(error))
    if problems:
        raise BadInput("\n".join(problems))


def check_models(config: RunConfig) -> None:
    """Look at the user's own code, at the headers and sizes of all weights, at the size of pictures, and at the form of
    answers.

    Raises:
        BadInput: weights that are missing, damaged or cut short; the message names the key and the file. Or as
            `check_own_code`, `check_picture_size` and `check_answer_form`.
    """
    check_own_code(config)
    models = config.models
    folders = {"models.checker": [models.checker], "models.actor": [models.actor]}
    for key, pipeline in (("models.flux", models.flux), ("models.editor", models.edits_with)):
        folders[key] = [str(Path(pipeline) / part) for part in _PIPELINE_PARTS if (Path(pipeline) / part).is_dir()]
        if Path(pipeline).is_dir() and not folders[key]:
            raise BadInput(f"{key}: {pipeline} holds none of {', '.join(_PIPELINE_PARTS)}; give a diffusers pipeline")
    for key, parts in folders.items():
        for part in parts:
            try:
                check_model_folder(part)
            except BrokenModelFolder as error:
                raise BadInput(f"{key}: {error}") from error
    check_picture_size(config)
    check_answer_form(config)


def check_adapters(config: RunConfig) -> None:
    """Look for the layers of every LoRA that will train. It reads configurations only, and nothing without a LoRA.

    Raises:
        BadInput: a pattern that binds to no layer, or to one that cannot be adapted; the message names both.
    """
    for policy in sorted(config.trained):
        if (lora := getattr(config.learner, policy).lora) is None:
            continue
        from learner.skeleton import skeleton
        from weights.lora import bindings  # it loads torch and peft

        model = model_source(config.models.actor if policy == "actor" else config.models.edits_with)
        try:
            bindings(skeleton(policy, model), lora)
        except (OSError, ValueError) as error:
            raise BadInput(f"learner.{policy}, model {model}: {error}") from error


def check_answer_form(config: RunConfig) -> None:
    """Compile `rollout.answer_form` for the Actor's tokenizer. It does nothing without one.

    Raises:
        BadInput: it cannot be compiled.
    """
    if (form := config.rollout.answer_form) is None:
        return
    from transformers import AutoConfig, AutoTokenizer

    from serving.answers.grammar import AnswerGrammar  # it loads torch

    model = model_source(config.models.actor)
    try:
        vocabulary = AutoConfig.from_pretrained(model).get_text_config().vocab_size
        AnswerGrammar(form, AutoTokenizer.from_pretrained(model), vocabulary, [])
    except (OSError, ValueError) as error:
        raise BadInput(f"rollout.answer_form, model {model}: {error}") from error


def check_disk(config: RunConfig, folder: Path, done: int) -> None:
    """Compare the free space where `folder` will be with the trajectories of the updates from `done` on.

    Raises:
        BadInput: there is too little.
    """
    place = folder.resolve()
    while not place.exists():
        place = place.parent
    disk = trajectories_on_disk(config, latent_shape(config.models.edits_with, Sizes(ask_hub=False)), done)
    free = shutil.disk_usage(place).free
    if disk.total > free:
        remedy = disk.remedy(free)
        raise BadInput(
            f"{folder}: {free / _GIB:.3g} GiB are free, and the trajectories of the run take about "
            f"{disk.total / _GIB:.3g} GiB; {f'set {remedy}, ' if remedy else ''}ask for fewer updates (stages), free "
            "space, or choose another folder"
        )


def check_room(config: RunConfig) -> None:
    """Look whether the Ray cluster that this process has joined, or started, could ever hold the run, and whether its
    GPUs could, where a label says their memory.

    Raises:
        BadInput: it could not; the message has a line for each role that finds no room. Or as `check_memory`.
    """
    from presets.planning.plan import make_plan
    from rlrig.cluster.nodes import joined_cluster
    from rlrig.cluster.room import refusals

    cluster = joined_cluster()
    if config.needs.gpu_gib is None:
        check_memory(config, lambda: cluster.gpu_gib)
    if problems := refusals(make_plan(config, memory=False), cluster):
        where = "Ray on this machine" if config.ray.address is None else f"the cluster at {config.ray.address}"
        raise BadInput("\n  ".join([f"{where} could never hold this run (`rlrig plan` shows all of it):", *problems]))
