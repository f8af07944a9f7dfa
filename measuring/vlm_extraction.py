"""The extractor for images of any kind: a VLM behind an endpoint, in LAION-SG's protocol."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np

from measuring.checklist import checklist_reminder, checklist_request, read_checklist
from measuring.image_scorer import Unscored
from scenes.json_answers import UnreadableAnswer
from scenes.laion_sg_protocol import extraction_request, parse_extraction, reminder, score_extraction
from scenes.scene_graph import SceneGraph
from scenes.scene_graph_iou import SceneScores
from serving.endpoint.openai_api import Ask, Endpoint, EndpointError

T = TypeVar("T")


@dataclass
class Reading:
    """Asks for answers of a certain form. An unreadable one is asked for again, with a reminder of the form and of what
    was wrong, `tries` times in all. `unreadable` counts the answers that could not be read."""

    tries: int
    unreadable: int = 0

    async def answer(
        self,
        ask: Ask,
        text: str,
        image: np.ndarray,
        read: Callable[[str], T],
        remind: Callable[[str], str],
    ) -> T | Unscored:
        """What `read` makes of the answer about an image; `read` raises UnreadableAnswer."""
        problem = ""
        for attempt in range(self.tries):
            question = text if attempt == 0 else f"{text}\n\n{remind(problem)}"
            try:
                reply = await ask(question, image)
            except EndpointError as error:
                return Unscored(str(error))
            try:
                return read(reply.text)
            except UnreadableAnswer as error:
                self.unreadable += 1
                problem = f"{error.problem} (it was cut off)" if reply.cut_off else error.problem
        return Unscored(f"unreadable in {self.tries} tries, at last: {problem}")


class VlmExtractor:
    """Scores images by what a VLM sees in them: relations in LAION-SG's protocol, other requirements, which that does
    not know, by a checklist. An image that it gives no readable answer about stays unscored."""

    def __init__(self, endpoint: Endpoint, tries: int = 3) -> None:
        self._endpoint = endpoint
        self._reading = Reading(tries)

    def score(self, graphs: Sequence[SceneGraph], images: Sequence[np.ndarray]) -> list[SceneScores | Unscored]:
        """The IoUs of LAION-SG for each image (uint8, H×W×3).

        Raises:
            ValueError: as many graphs as images are needed, each with a requirement.
        """
        jobs = [partial(self._score, graph, image) for graph, image in zip(graphs, images, strict=True)]
        return self._endpoint.run(jobs)

    async def _score(self, graph: SceneGraph, image: np.ndarray, ask: Ask) -> SceneScores | Unscored:
        found, holds, others = None, list[bool](), tuple(one for one in graph.requirements if one.kind != "relation")
        if graph.related or not others:
            read = await self._reading.answer(ask, extraction_request(graph), image, parse_extraction, reminder)
            if isinstance(read, Unscored):
                return read
            found = read
        if others:
            question, said = checklist_request(others), partial(read_checklist, count=len(others))
            answers = await self._reading.answer(ask, question, image, said, checklist_reminder)
            if isinstance(answers, Unscored):
                return answers
            holds = answers
        return score_extraction(graph, found, [(one.kind, met) for one, met in zip(others, holds, strict=True)])

    def report(self) -> dict[str, Any]:
        return {"extractor": "openai", **endpoint_report(self._endpoint, self._reading)}


def endpoint_report(endpoint: Endpoint, reading: Reading) -> dict[str, Any]:
    """Which model was asked, and what it cost: requests, tokens, seconds."""
    return {
        "model": endpoint.config.model,
        "base_url": endpoint.config.base_url,
        **asdict(endpoint.usage),
        "unreadable_answers": reading.unreadable,
    }
