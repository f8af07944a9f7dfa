"""Turns as JSON, for scorers that are services: what is posted to them, and what they answer.

A request is an object with `version` (1), `scorer` (the entry's name), `options`, `images` and `turns`. `images` are
PNG files in base64, each once. A turn has `group`, `stage`, `scene_graph` (a LAION-SG record), `requirements` (texts),
`source` and `image` (positions in `images`), `reflection`, `edit_prompt`, `answer`, `tokens`, `satisfaction_before`,
`satisfaction_after` (null where the Checker gave no probability) and `still`; see `rewards.turn.ScoredTurn`. The answer
is an object with `values`: for each turn a number, or null where there is none.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rewards.turn import ScoredTurn
from rewards.values import ScorerFailed, Values, checked_values
from scenes.png import encode_png

VERSION = 1


def request_of(name: str, options: Mapping[str, Any], turns: Sequence[ScoredTurn]) -> dict[str, Any]:
    """The body of a request, as values that JSON has."""
    places: dict[int, int] = {}
    images: list[str] = []

    def place(image: np.ndarray) -> int:
        if id(image) not in places:
            places[id(image)] = len(images)
            images.append(base64.b64encode(encode_png(image)).decode())
        return places[id(image)]

    told = [
        {
            "group": turn.group,
            "stage": turn.stage,
            "scene_graph": turn.graph.record(),
            "requirements": [requirement.text for requirement in turn.graph.requirements],
            "source": place(turn.source),
            "image": place(turn.image),
            "reflection": turn.reflection,
            "edit_prompt": turn.edit_prompt,
            "answer": turn.answer,
            "tokens": turn.tokens,
            "satisfaction_before": _without_nan(turn.satisfaction_before),
            "satisfaction_after": _without_nan(turn.satisfaction_after),
            "still": turn.still,
        }
        for turn in turns
    ]
    return {"version": VERSION, "scorer": name, "options": dict(options), "images": images, "turns": told}


def values_in(body: bytes, count: int) -> Values:
    """The values in the body of an answer.

    Raises:
        ScorerFailed: it is no JSON object with `count` values.
    """
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ScorerFailed(f"answered with something else than JSON: {body[:80]!r}") from error
    if not isinstance(answer, dict) or not isinstance(answer.get("values"), list):
        raise ScorerFailed(f"answered without a list of values: {body[:80]!r}")
    return checked_values(answer["values"], count)


def _without_nan(values: Sequence[float]) -> list[float | None]:
    return [float(value) if math.isfinite(value) else None for value in values]
