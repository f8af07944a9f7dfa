"""Rows of arms whose mean SG-IoU is chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from experiments.rows import UNTRAINED, Row

TRAINED = ("Actor trained", "Editor trained", "RL-RIG", "RL-RIG, alternating")
SECONDS = {"Diffuser": 0.14, "Best-of-N": 0.78, "Random edits": 0.52}


def arm_rows(
    arm: str, mean: float, count: int = 60, seeds: Sequence[int] = (UNTRAINED,), prompts: str = "two_three"
) -> list[Row]:
    """Scores around `mean`: every arm shares what a prompt adds, each image adds a little of its own."""
    common = 0.15 * np.random.default_rng(len(prompts)).standard_normal(count)
    rows = []
    for seed in seeds:
        rng = np.random.default_rng([seed + 1, *arm.encode()])
        own = 0.03 * rng.standard_normal(count)
        values = np.clip(mean + common - common.mean() + own - own.mean(), 0.0, 1.0)
        rows += [
            Row(
                arm=arm,
                seed=seed,
                prompts=prompts,
                prompt_id=f"p{k:03}",
                sg_iou=float(value),
                entity_iou=min(1.0, float(value) + 0.3),
                relation_iou=min(1.0, float(value) + 0.1),
                all_satisfied=float(value > 0.5),
                checker=float(value),
                judge=float(value),
                turns=0.0 if arm in ("Diffuser", "Best-of-N") else float(1 + k % 2),
                model_seconds=SECONDS.get(arm, 0.74) + 0.004 * max(seed, 0),
            )
            for k, value in enumerate(values)
        ]
    return rows


def all_rows(
    means: Mapping[str, float], count: int = 60, seeds: Sequence[int] = (0, 1, 2), harder: float = -0.1
) -> list[Row]:
    """Every arm of `means` on both sets of prompts; on the harder one the mean is higher by `harder`."""
    return [
        row
        for arm, mean in means.items()
        for prompts, more in (("two_three", 0.0), ("four_five", harder))
        for row in arm_rows(arm, mean + more, count, seeds if arm in TRAINED else (UNTRAINED,), prompts)
    ]
