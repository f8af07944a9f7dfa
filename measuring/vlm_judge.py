"""A judge of how far an image meets its prompt: a VLM behind an endpoint says yes or no to each requirement."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import numpy as np

from measuring.checklist import checklist_reminder, checklist_request, read_checklist
from measuring.image_scorer import Unscored
from measuring.vlm_extraction import Reading, endpoint_report
from scenes.dialogue import NO, YES, checker_question
from scenes.json_answers import UnreadableAnswer, without_thinking
from scenes.scene_graph import AnyRequirement, SceneGraph
from scenes.scene_graph_iou import check_requirements
from serving.endpoint.openai_api import Ask, Endpoint

JudgeMode = Literal["per_requirement", "checklist"]

_PLAIN = re.compile(rf"\W*({YES}|{NO})\b(?!\W*(?:or\W+)?(?:{YES}|{NO})\b)", re.IGNORECASE)


def read_yes_or_no(text: str) -> bool:
    """A plain answer that begins with yes or no.

    Raises:
        UnreadableAnswer: it begins otherwise, or with both.
    """
    match = _PLAIN.match(without_thinking(text))
    if match is None:
        raise UnreadableAnswer("it does not begin with either yes or no", text)
    return match[1].lower() == YES


def one_word_reminder(problem: str) -> str:
    """What is added to a question after an answer that was neither yes nor no."""
    return f"An earlier answer could not be used: {problem}. Answer with the one word yes or the one word no."


class VlmJudge:
    """Scores images by the fraction of their requirements that a VLM says yes to.

    `per_requirement` asks the Checker's question for each requirement by itself and takes plain answers; `checklist`
    asks about all at once and takes JSON. An image with a requirement that stays without an answer stays unscored.
    """

    def __init__(self, endpoint: Endpoint, mode: JudgeMode = "per_requirement", tries: int = 3) -> None:
        self._endpoint, self._mode = endpoint, mode
        self._reading = Reading(tries)

    def score(self, graphs: Sequence[SceneGraph], images: Sequence[np.ndarray]) -> list[float | Unscored]:
        """The fraction of requirements met in each image (uint8, H×W×3).

        Raises:
            ValueError: as many graphs as images are needed, each with a requirement.
        """
        for graph in graphs:
            check_requirements(graph)
        job = self._one_by_one if self._mode == "per_requirement" else self._all_at_once
        jobs = [partial(job, graph.requirements, image) for graph, image in zip(graphs, images, strict=True)]
        return self._endpoint.run(jobs)

    async def _one_by_one(
        self, requirements: tuple[AnyRequirement, ...], image: np.ndarray, ask: Ask
    ) -> float | Unscored:
        met = 0
        for requirement in requirements:
            question = checker_question(requirement)
            answer = await self._reading.answer(ask, question, image, read_yes_or_no, one_word_reminder)
            if isinstance(answer, Unscored):
                return answer
            met += answer
        return met / len(requirements)

    async def _all_at_once(
        self, requirements: tuple[AnyRequirement, ...], image: np.ndarray, ask: Ask
    ) -> float | Unscored:
        question, read = checklist_request(requirements), partial(read_checklist, count=len(requirements))
        answers = await self._reading.answer(ask, question, image, read, checklist_reminder)
        return answers if isinstance(answers, Unscored) else sum(answers) / len(answers)

    def report(self) -> dict[str, Any]:
        return {"mode": self._mode, **endpoint_report(self._endpoint, self._reading)}
