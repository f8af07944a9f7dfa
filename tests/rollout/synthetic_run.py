"""A run's folder as training leaves it, made from drawn scenes, for tests of what reads such folders."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from rollout.trajectory import Turn, write_parquet
from scenes.shape_world import sample_scene


def write_run(
    folder: Path, updates: int = 4, prompts: int = 3, members: int = 4, turns: int = 2, hostile: str = ""
) -> Path:
    """Write metrics, summary, configuration and trajectories. `hostile` is put into texts that models write."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    lines = []
    for update in range(2 * updates):
        stage = "actor" if update < updates else "editor"
        rows = []
        for prompt in range(prompts):
            rows += _episode(rng, stage, update, prompt, members, turns, hostile)
        write_parquet(rows, folder / "trajectories" / f"{update:05}.parquet")
        rewards = [row.reward for row in rows]
        lines.append(
            {
                "update": update,
                "stage": stage,
                "reward_mean": float(np.mean(rewards)),
                "reward_std": float(np.std(rewards)),
                "groups": prompts,
                "groups_dropped": int(rng.integers(0, 3)),
                "actor_version": min(update + 1, updates),
                "editor_version": max(0, update + 1 - updates),
                "weights": {"digest": f"{stage}-{update}"},
                "logprob_mismatch": float(10 ** rng.uniform(-6, -4)),
                "seconds": {"draw": 1.2, "check": 0.8, "edit": 6 + rng.random(), "learn": 4.0, "sync": 0.2},
            }
        )
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    before = {"satisfied": 0.512, "sg_iou": 0.431, "entity_iou": 0.937, "relation_iou": 0.655}
    after = {"satisfied": 0.633, "sg_iou": 0.548, "entity_iou": 0.929, "relation_iou": 0.741}
    summary = {"run": folder.name, "prompts": 64, "before": before, "after": after, "notes": ["models in models/"]}
    (folder / "summary.json").write_text(json.dumps(summary))
    (folder / "config.yaml").write_text("seed: 0\nstages:\n- {stage: actor, updates: 4}\n")
    return folder


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
                    group=prompt,
                    member=member,
                    turn=turn,
                    carried_on=member == best,
                    actor_version=update,
                    editor_version=0,
                    image_before=image,
                    image_after=edited,
                    request="goal : … . unmet : … . fix ?",
                    reflection=None if edited is None else f"red circle right of blue square{hostile}",
                    edit_prompt=None if edited is None else f"move {requirements[0]}",
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
