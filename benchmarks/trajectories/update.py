"""The turns of one update, with pictures as large and about as detailed as those of a large editor."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from actors.flow_path import FlowPath, FlowSde
from benchmarks.clock import Clock, Seconds
from presets.run_config import RunConfig
from rollout.trajectory import Turn, to_table
from scenes.pictures.size import PictureSize
from scenes.png import Picture

_GRAIN = 2.5  # standard deviation of the noise in grey levels, with which a PNG is as large as that of a photograph
_PLACES = 24  # of the colours in a picture, across and down
_AT_ONCE = 2  # prompts, so that never all pixels of an update are in memory
_LATENT_SIDE, _LATENT_CHANNELS = 16, 64  # pixels of a packed latent's side, and its channels, in FLUX and Qwen-Image


def write_tables(config: RunConfig, stage: str, folder: Path) -> Seconds:
    """Make the turns of an update and write their tables into `folder`, from where another process has them without a
    copy; returns what encoding and putting them together took."""
    clock, count = Clock(), config.rollout.prompts_per_update
    for first in range(0, count, _AT_ONCE):
        turns = list(turns_of(config, stage, range(first, min(first + _AT_ONCE, count))))
        with clock.part("table"):
            table = to_table(turns)
        with pa.ipc.new_file(str(folder / f"{first:05}.arrow"), table.schema) as file:
            file.write_table(table)
    return clock.take()["table"]


def turns_of(config: RunConfig, stage: str, prompts: range, seed: int = 0) -> Iterator[Turn]:
    """The turns of these prompts: every turn a group that starts from one image, its members with images of their own,
    and with `stage` editor the latents of their stochastic steps."""
    rng = np.random.default_rng([seed, prompts.start])
    rollout = config.rollout
    for prompt in prompts:
        for turn in range(rollout.turns):
            before = Picture(picture(rng, config.diffuser.size))
            for member in range(rollout.group_size):
                path = _path(rng, config) if stage == "editor" else None
                yield _turn(config, stage, prompt, turn, member, before, rng, path)


def picture(rng: np.random.Generator, size: PictureSize) -> np.ndarray:
    """uint8 (height, width, 3): soft colours and grain."""
    colours = Image.fromarray(rng.integers(0, 256, (_PLACES, _PLACES, 3), dtype=np.uint8))
    soft = np.asarray(colours.resize(size, Image.Resampling.BICUBIC), np.float32)
    grain = rng.standard_normal(soft.shape, dtype=np.float32) * _GRAIN
    return np.clip(soft + grain, 0, 255).astype(np.uint8)


def _path(rng: np.random.Generator, config: RunConfig) -> FlowPath:
    editor = config.editor
    start, stop = FlowSde(editor.eta, editor.steps, editor.sde_window).stochastic_steps
    steps = stop - start
    tokens = prod(config.diffuser.size.tokens(_LATENT_SIDE))
    latents = rng.standard_normal((steps + 1, tokens, _LATENT_CHANNELS), dtype=np.float32)
    return FlowPath(latents, np.linspace(1, 0.2, steps + 1), rng.standard_normal(steps), editor.eta)


def _turn(
    config: RunConfig,
    stage: str,
    prompt: int,
    turn: int,
    member: int,
    before: Picture,
    rng: np.random.Generator,
    path: FlowPath | None,
) -> Turn:
    tokens = config.rollout.max_answer_tokens
    satisfaction = rng.random(4).tolist()
    return Turn(
        run="benchmark",
        prompt=prompt,
        prompt_id=str(prompt),
        scene_graph={"img_id": str(prompt), "caption_ori": "a cup on a table, a lamp", "items": [], "relations": []},
        stage=stage,
        started=0,
        update=0,
        group=prompt * config.rollout.turns + turn,
        member=member,
        turn=turn,
        carried_on=member == 0,
        actor_version=0,
        editor_version=0,
        image_before=before,
        image_after=Picture(picture(rng, config.diffuser.size)),
        request="Four things are asked for: a cup on a table, a lamp beside it. Which does the picture lack?" * 4,
        reflection="the lamp is missing",
        edit_prompt="put a lamp beside the cup",
        answer_text="the lamp is missing; put a lamp beside the cup" * 8,
        token_ids=rng.integers(0, 150_000, tokens).tolist(),
        token_log_probs=(-rng.random(tokens)).tolist(),
        requirements=["cup on table", "lamp beside cup", "lamp on table", "cup left of lamp"],
        satisfaction_before=satisfaction,
        satisfaction_after=rng.random(4).tolist(),
        reward_before=float(np.mean(satisfaction)),
        reward=float(rng.random()),
        advantage=float(rng.standard_normal()),
        flow=path,
    )
