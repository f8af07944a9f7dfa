"""Our detector's numbers of a benchmark's pictures, and the verdict on each picture."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from measuring.benchmarks.pictures import BATCH, CORRECTED, DRAWN, Folder, Wanted, is_whole, write_text
from measuring.benchmarks.verdicts import RULES, Verdict, visor_result
from scenes.detected.boxes import Detection
from scenes.detected.reading import Find

VERDICTS = "verdicts.jsonl"
Metrics = dict[str, dict[str, Any]]
PromptScores = dict[str, dict[str, dict[str, float]]]


@dataclass(frozen=True)
class Eye:
    """A detector: what finds, the name that files are called by, and the least score that counts."""

    find: Find
    name: str
    threshold: float


def score_pictures(folder: Folder, eye: Eye, given: bool = False) -> tuple[Metrics, PromptScores]:
    """Look at all pictures of a folder, and write `verdicts.jsonl`; of VISOR also what `visor.py` reads, below `od`.

    Args:
        given: the folder was brought along: one tree of pictures, which may lack some.

    Returns:
        By images (`diffuser`, `loop`; `pictures` where they were brought along) the means over pictures, with
        `pictures` and `missing` as counts; and the mean of each prompt by metric, which intervals are made of.
    """
    metrics: Metrics = {}
    scores: PromptScores = {}
    lines: list[str] = []
    for images in ("",) if given else (DRAWN, CORRECTED):
        name = images or "pictures"
        there = [one for one in folder.all if is_whole(folder.file(images, one))]
        found = list(_verdicts(folder, eye, images, there))
        lines += [
            json.dumps({"images": name, "key": one.task.key, "k": one.k, "scores": verdict.scores, "why": verdict.why})
            for one, verdict, _ in found
        ]
        by_prompt = _by_prompt([(one.task.key, verdict) for one, verdict, _ in found])
        scores[name] = {
            metric: {key: _mean(values) for key, values in ones.items()} for metric, ones in by_prompt.items()
        }
        missing = len(folder.tasks) * folder.n - len(there)
        metrics[name] = {**_means(by_prompt), "pictures": len(there), "missing": missing}
        if folder.benchmark.name == "visor":
            results = {f"{one.task.key}_{one.k}": visor_result(one.task.record, seen) for one, _, seen in found}
            write_text(
                folder.path / "od" / f"results_{name}_{_STEM}_{eye.name}_{eye.threshold}.json", json.dumps(results)
            )
    write_text(folder.path / VERDICTS, "".join(f"{line}\n" for line in lines))
    return metrics, scores


_STEM = "text_spatial_rel_phrases"  # of VISOR's prompt file, which `visor.py` puts into the name of the results


def _verdicts(
    folder: Folder, eye: Eye, images: str, there: Sequence[Wanted]
) -> Iterator[tuple[Wanted, Verdict, list[Detection]]]:
    rules = RULES[folder.benchmark.name]
    for first in range(0, len(there), BATCH):
        batch = there[first : first + BATCH]
        pixels = [_pixels(folder.file(images, one)) for one in batch]
        found = eye.find(pixels, [rules.phrases(one.task) for one in batch])
        for one, image, detections in zip(batch, pixels, found, strict=True):
            yield one, rules.verdict(one.task, image, detections), detections


def _by_prompt(found: Sequence[tuple[str, Verdict]]) -> dict[str, dict[str, list[float]]]:
    """Metric → prompt → the scores of its pictures."""
    by: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for key, verdict in found:
        for metric, value in verdict.scores.items():
            by[metric][key].append(float(value))
    return {metric: dict(prompts) for metric, prompts in by.items()}


def _means(by_prompt: Mapping[str, Mapping[str, list[float]]]) -> dict[str, float]:
    """Means over pictures. `our_geneval` is the mean over tags, as GenEval's overall score; `our_visor_cond` is the
    share of pictures that stand as asked among those with both objects, and `our_visor_k` the share of prompts with at
    least k such pictures."""
    means = {metric: _mean([v for values in ones.values() for v in values]) for metric, ones in by_prompt.items()}
    tags = [value for metric, value in means.items() if metric.startswith("our_geneval_")]
    if tags:
        means["our_geneval"] = _mean(tags)
    if "our_visor_uncond" in means:
        means["our_visor_cond"] = means["our_visor_uncond"] / means["our_oa"] if means["our_oa"] else 0.0
        counts = [sum(values) for values in by_prompt["our_visor_uncond"].values()]
        means |= {f"our_visor_{k}": _mean([float(count >= k) for count in counts]) for k in (1, 2, 3, 4)}
    return means


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def _pixels(file: Path) -> np.ndarray:
    with Image.open(file) as image:
        return np.asarray(image.convert("RGB"))
