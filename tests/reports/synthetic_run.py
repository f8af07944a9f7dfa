"""A run's folder as training leaves it, made from drawn scenes, for tests of what reads such folders."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from actors.flow_path import FlowPath
from measuring.evaluation import PromptScores
from reports.held_out import write_held_out
from rollout.groups.batches import describe
from rollout.trajectory import Turn, write_parquet
from scenes.png import Picture
from scenes.shape_world import sample_scene

HELD_OUT = 24
METRICS = ("satisfied", "sg_iou", "entity_iou")


def write_run(
    folder: Path,
    updates: int = 4,
    prompts: int = 3,
    members: int = 4,
    turns: int = 2,
    hostile: str = "",
    seed: int = 0,
    flow: bool = False,
) -> Path:
    """Write metrics, summary, held-out scores, configuration and trajectories, as a run that came to its end.

    `hostile` is put into texts that models write; `updates` are of each policy, the Actor's first; `flow`
    gives turns of the editor's updates a path of denoising.
    """
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    lines = []
    for update in range(2 * updates):
        stage = "actor" if update < updates else "editor"
        rows = []
        for prompt in range(prompts):
            rows += _episode(rng, stage, update, prompt, members, turns, hostile)
        if flow and stage == "editor":
            rows = [row if row.image_after is None else replace(row, flow=_flow(rng)) for row in rows]
        write_parquet(rows, folder / "trajectories" / f"{update:05}.parquet")
        truths = {str(prompt): [float(rng.uniform(0, members * turns)), members * turns] for prompt in range(prompts)}
        lines.append(
            {
                "update": update,
                "stage": stage,
                **describe(rows),
                "truth_mean": sum(total for total, _ in truths.values()) / (prompts * members * turns),
                "checker_agreement": float(rng.uniform(0.9, 1)),
                "truth_by_prompt": truths,
                "restarts": update // 3,
                "requeued": 2 * (update // 3),
                "replaced": 0,
                "unanswered": 0,
                "staleness": {"max": 0.0, "mean": 0.0},
                "learner": {"gradient_norm": float(rng.random()), "kl": 0.0, "clip_fraction": 0.0},
                "actor_version": min(update + 1, updates),
                "editor_version": max(0, update + 1 - updates),
                "weights": {"digest": f"{stage}-{update}", "replicas": {"a": {"transport": "object_store"}}},
                "logprob_mismatch": float(10 ** rng.uniform(-6, -4)),
                "seconds": {"draw": 1.2, "check": 0.8, "edit": 6 + rng.random(), "learn": 4.0, "sync": 0.2},
                "seconds_total": 13.0,
            }
        )
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    summary: dict[str, Any] = {"run": folder.name, "prompts": HELD_OUT, "minutes": 3.25, "models": ["models/actor"]}
    for name, shift in (("before", 0.0), ("after", 0.1)):
        scores = _held_out(np.random.default_rng(7), rng, shift)
        write_held_out(scores, folder / "held_out" / f"{name}.parquet")
        means = {
            images: {m: float(np.mean(list(of.values()))) for m, of in found.items()}
            for images, found in scores.items()
        }
        summary |= {"diffuser": means["diffuser"], name: means["loop"]}
    (folder / "summary.json").write_text(json.dumps(summary))
    (folder / "config.yaml").write_text(
        f"seed: {seed}\nstages:\n- {{stage: actor, updates: {updates}}}\n- {{stage: editor, updates: {updates}}}\n"
        f"rollout: {{group_size: {members}, prompts_per_update: {prompts}}}\nevaluation: {{prompts: {HELD_OUT}}}\n"
        "sync: {actor: object_store, editor: object_store}\n"
    )
    return folder


def _flow(rng: np.random.Generator) -> FlowPath:
    """Two steps of four tokens with two channels."""
    latents = rng.normal(size=(3, 4, 2)).astype(np.float32)
    return FlowPath(latents, np.array([1.0, 0.6, 0.3], np.float32), np.array([-1.0, -1.1], np.float32), 0.7)


def _held_out(prompts: np.random.Generator, noise: np.random.Generator, shift: float) -> PromptScores:
    """Scores whose mean differs by `shift`, less by prompt than between prompts."""
    hard = prompts.random(HELD_OUT)
    loop = {m: np.clip(0.5 * hard + 0.3 + shift + noise.normal(0, 0.03, HELD_OUT), 0, 1) for m in METRICS}
    first = dict.fromkeys(METRICS, 0.5 * hard)
    return {
        images: {m: {f"held-out-{k}": float(v) for k, v in enumerate(values)} for m, values in found.items()}
        for images, found in (("diffuser", first), ("loop", loop))
    }


def _episode(
    rng: np.random.Generator, stage: str, update: int, prompt: int, members: int, turns: int, hostile: str
) -> list[Turn]:
    scene = sample_scene(rng, "train", (2, 3), img_id=f"train-{update}-{prompt}")
    requirements = [requirement.text for requirement in scene.graph.requirements]
    image, satisfaction = scene.image, rng.random(len(requirements)).tolist()
    rows = []
    for turn in range(turns):
        made = []
        for member in range(members):
            parsed = not (member == members - 1 and turn == 0)
            edited = sample_scene(rng, "train", (2, 3)).image
            after = rng.random(len(requirements)).tolist() if parsed else satisfaction
            made.append((edited if parsed else None, after, float(np.mean(after)) if parsed else 0.0))
        shown = Picture(image)
        best = int(np.argmax([reward for _, _, reward in made]))
        for member, (edited, after, reward) in enumerate(made):
            rows.append(
                Turn(
                    run="synthetic",
                    prompt=prompt,
                    prompt_id=scene.graph.img_id,
                    scene_graph=scene.graph.record(),
                    stage=stage,
                    started=update,
                    update=update,
                    group=prompt * turns + turn,
                    member=member,
                    turn=turn,
                    carried_on=member == best,
                    actor_version=update,
                    editor_version=0,
                    image_before=shown,
                    image_after=None if edited is None else Picture(edited),
                    request="goal : … . unmet : … . fix ?",
                    reflection=None if edited is None else f"red circle right of blue square{hostile}",
                    edit_prompt=None if edited is None else f"move {requirements[0]}",
                    unread="no edit" if edited is None else None,
                    truncated=edited is None,
                    answer_text="reflection : red red red",
                    token_ids=[1, 2],
                    token_log_probs=[-0.1, -0.2],
                    requirements=requirements,
                    satisfaction_before=satisfaction,
                    satisfaction_after=after,
                    reward_before=float(np.mean(satisfaction)),
                    reward=reward,
                )
            )
        image, satisfaction = made[best][0], made[best][1]
    return rows
