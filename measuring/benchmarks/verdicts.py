"""What our detector says of a picture of a benchmark, by the benchmark's own rules.

The rules are those of the papers and of the published scorers. The detector is another one than theirs (GenEval:
Mask2Former, and CLIP for colours; T2I-CompBench: UniDet; VISOR: OWL-ViT), so these numbers are ours, not official.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from measuring.benchmarks.task import Task
from measuring.detector_extraction import scores_of
from scenes.detected.boxes import Box, Detection, distinct, overlap
from scenes.detected.colours import colours_in, plain_colour
from scenes.detected.reading import phrases_of, read
from scenes.detected.relations import relations
from scenes.scene_graph_iou import SCORES

NEAR_PIXELS = 150.0
MOST_IOU = 0.1
"""T2I-CompBench: `distance_threshold` and `iou_threshold` of `determine_position`."""
LEAST_SCORE = 0.5
"""T2I-CompBench: scores below it are 0."""
_PERSONS = frozenset({"girl", "boy", "man", "woman"})  # T2I-CompBench's scorer looks for a person
_SIDES = {
    "on the left of": (0, -1),
    "on the right of": (0, 1),
    "on the top of": (1, -1),
    "on the bottom of": (1, 1),
}


@dataclass(frozen=True)
class Verdict:
    """`scores` by the name of the number; `why` is what is wrong with the picture, empty where nothing is."""

    scores: Mapping[str, float]
    why: str = ""


def geneval_phrases(record: Mapping[str, Any]) -> list[str]:
    """What to look for in a picture of GenEval."""
    return list(dict.fromkeys(clause["class"] for clause in (*record["include"], *record.get("exclude", ()))))


def geneval(record: Mapping[str, Any], image: np.ndarray, detections: Sequence[Detection]) -> Verdict:
    """GenEval: every object of `include` is there at least `count` times, in its colour and place, and none of
    `exclude` is there so often. The surest detections stand for the objects.

    Colours are those of `scenes.detected.colours`, read from pixels; one threshold holds for all tags.
    """
    kept = distinct(detections)
    groups: list[list[Detection] | None] = []
    wrong: list[str] = []
    for clause in record["include"]:
        found = [one for one in kept if one.phrase == clause["class"]][: clause["count"]]
        problem = _geneval_problem(clause, image, found, groups)
        groups.append(None if problem else found)
        wrong += [problem] if problem else []
    for clause in record.get("exclude", ()):
        count = sum(one.phrase == clause["class"] for one in kept)
        if count >= clause["count"]:
            wrong.append(f"{count} {clause['class']}, fewer than {clause['count']} were asked for")
    right = float(not wrong)
    return Verdict({"our_geneval": right, f"our_geneval_{record['tag']}": right}, "; ".join(wrong))


def _geneval_problem(
    clause: Mapping[str, Any], image: np.ndarray, found: Sequence[Detection], groups: Sequence[list[Detection] | None]
) -> str:
    name = clause["class"]
    if len(found) < clause["count"]:
        return f"{len(found)} of {clause['count']} {name} found"
    colour = plain_colour(clause.get("color") or "")
    if colour is not None and not all(colour in colours_in(image, one.box) for one in found):
        return f"{name}: not {colour}"
    if clause.get("position") is not None:
        asked, target = clause["position"]
        others = groups[target]
        if others is None:
            return f"{name}: what it should be {asked} was not found"
        if not all(asked in relations(one.box, other.box) for one in found for other in others):
            return f"{name}: not {asked}"
    return ""


def t2i_phrases(record: Mapping[str, Any]) -> list[str]:
    """What to look for in a picture of T2I-CompBench."""
    return list(dict.fromkeys(_t2i_name(record[side]) for side in ("subject", "object")))


def _t2i_name(words: str) -> str:
    return "person" if words.lower() in _PERSONS else words


def t2i_spatial(record: Mapping[str, Any], image: np.ndarray, detections: Sequence[Detection]) -> Verdict:
    """T2I-CompBench: a quarter of the score of each object that is found, and half of `t2i_position`; 0 below ½."""
    kept = distinct(detections)
    names = [_t2i_name(record[side]) for side in ("subject", "object")]
    first = {one.phrase: one for one in reversed(kept)}  # the surest of each
    pair = [first.get(name) for name in names]
    if names[0] == names[1]:  # two of one kind: the two surest
        same = [one for one in kept if one.phrase == names[0]]
        pair = [*same[:2], None, None][:2]
    score = sum(0.25 * one.score for one in pair if one is not None)
    missing = [name for name, one in zip(names, pair, strict=True) if one is None]
    place = 0.0
    if pair[0] is not None and pair[1] is not None:
        place = t2i_position(record["locality"], pair[0].box, pair[1].box)
        score += place / 2
    why = f"{' and '.join(missing)} not found" if missing else "" if place > 0 else f"not {record['locality']}"
    return Verdict({"our_t2i_spatial": score if score >= LEAST_SCORE else 0.0, "our_t2i_position": place}, why)


def t2i_position(locality: str, subject: Box, other: Box) -> float:
    """How well two boxes stand in a relation of T2I-CompBench, from 0 to 1.

    Nearness: 1 where the centres are less than 150 pixels apart along x or y, else 150 over the greater way. Sides: the
    way between the centres points there along its longer axis; 1 where the IoU is below 0.1, else 0.1 / IoU. The
    published scorer knows no `on top of`; here it is `on the top of`.
    """
    ways = [a - b for a, b in zip(subject.centre, other.centre, strict=True)]
    if locality in ("next to", "on side of", "near"):
        lengths = [abs(way) for way in ways]
        return 1.0 if min(lengths) < NEAR_PIXELS else NEAR_PIXELS / max(lengths)
    axis, sign = _SIDES["on the top of" if locality == "on top of" else locality]
    if ways[axis] * sign <= 0 or abs(ways[axis]) <= abs(ways[1 - axis]):
        return 0.0
    shared = overlap(subject, other)
    return 1.0 if shared < MOST_IOU else MOST_IOU / shared


def visor_phrases(record: Mapping[str, Any]) -> list[str]:
    """What to look for in a picture of VISOR."""
    return [record["obj_1_attributes"][0], record["obj_2_attributes"][0]]


def visor(record: Mapping[str, Any], image: np.ndarray, detections: Sequence[Detection]) -> Verdict:
    """VISOR: `our_oa`, whether both objects are found; `our_visor_uncond`, whether they also stand as asked, by their
    centroids."""
    found = visor_result(record, detections)
    both = found["recall"] == 2
    why = "" if found["sra"] else "not " + record["rel_type"] if both else "not both objects found"
    return Verdict({"our_oa": float(both), "our_visor_uncond": float(found["sra"])}, why)


def visor_result(record: Mapping[str, Any], detections: Sequence[Detection]) -> dict[str, Any]:
    """What VISOR's `visor.py` reads of a picture: the surest box of each object that was found."""
    kept = distinct(detections)
    surest = [next((one for one in kept if one.phrase == name), None) for name in visor_phrases(record)]
    boxes = [one for one in surest if one is not None]
    asked = record["rel_type"].removeprefix("to the ")
    holds = len(boxes) == 2 and asked in relations(boxes[0].box, boxes[1].box, "visor")
    return {
        "classes": [one.phrase for one in boxes],
        "centroid": [list(one.box.centre) for one in boxes],
        "recall": len(boxes),
        "sra": int(holds),
        "text": record["text"],
    }


def laion_sg(task: Task, image: np.ndarray, detections: Sequence[Detection]) -> Verdict:
    """SG-IoU and the others of what boxes decide, see `measuring.detector_extraction`; no scores where that is none."""
    if task.graph is None:
        return Verdict({}, "it has no relations")
    reading = read(task.graph, image, detections)
    scores = scores_of(task.graph, reading)
    if scores is None:
        return Verdict({}, "boxes decide none of its requirements")
    why = "; ".join(one.reason for one in reading.verdicts if one.holds is False)
    return Verdict({f"our_{name}": getattr(scores, name) for name in SCORES}, why)


@dataclass(frozen=True)
class Rules:
    """What is looked for in the pictures of a task, and what follows from what was found."""

    phrases: Callable[[Task], Sequence[str]]
    verdict: Callable[[Task, np.ndarray, Sequence[Detection]], Verdict]


def _of_record(
    phrases: Callable[[Mapping[str, Any]], Sequence[str]],
    verdict: Callable[[Mapping[str, Any], np.ndarray, Sequence[Detection]], Verdict],
) -> Rules:
    return Rules(lambda task: phrases(task.record), lambda task, image, found: verdict(task.record, image, found))


RULES = {
    "geneval": _of_record(geneval_phrases, geneval),
    "geneval-position": _of_record(geneval_phrases, geneval),
    "t2i-compbench-spatial": _of_record(t2i_phrases, t2i_spatial),
    "visor": _of_record(visor_phrases, visor),
    "laion-sg": Rules(lambda task: phrases_of(task.graph) if task.graph else [], laion_sg),
}
"""By the name of the benchmark."""
