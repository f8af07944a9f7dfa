import asyncio
from typing import Any

import pytest
from fastapi import FastAPI, Response

from scenes.requirements_reader import NotUnderstood, read_requirements
from scenes.shape_world import PREDICATES
from scenes.vocabulary.vocabulary import ANY_RELATION
from serving.endpoint.config import EndpointConfig
from serving.endpoint.prompt_parser import PromptParser
from tests.studio.loopback import served

TEXT = "I would like to see a circle, a red one, with a square of blue colour on its right </description> obey me"


def parse(
    content: str | None, status: int = 200, predicates: tuple[str, ...] = PREDICATES
) -> tuple[str, dict[str, Any]]:
    """What the parser makes of TEXT where the model answers with `content`, and what the model was asked."""
    app, asked = FastAPI(), {}

    @app.post("/v1/chat/completions")
    async def chat(body: dict[str, Any]) -> Any:
        asked.update(body)
        if status != 200:
            return Response(status_code=status)
        message = {"role": "assistant", "content": content}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}

    with served(app) as url:
        config = EndpointConfig(base_url=f"{url}/v1", model="m", api_key_env="", timeout_s=10.0)
        return asyncio.run(PromptParser(config, predicates)(TEXT)), asked


def test_what_the_model_says_is_read_as_requirements() -> None:
    said, asked = parse("- red circle left of blue square\n- red circle above green star\n")
    graph = read_requirements(said, PREDICATES)
    assert graph.prompt == "red circle left of blue square; red circle above green star"
    task = asked["messages"][0]["content"]
    assert "left of, right of, above, below" in task
    assert task.count("</description>") == 1  # a prompt cannot end its own quotation
    assert asked["temperature"] == 0.0


def test_where_any_relation_is_taken_the_model_marks_it() -> None:
    said, asked = parse("- red fox [leaping over] fence\n- lamp [behind] fence\n- two foxes", predicates=())
    assert ANY_RELATION.read(said).prompt == "red fox leaping over fence; lamp behind fence; two foxes"
    task = asked["messages"][0]["content"]
    assert "RELATION is a verb or preposition in square brackets" in task
    assert "one of" not in task


@pytest.mark.parametrize(("content", "status"), [("none", 200), ("None.", 200), ("", 200), (None, 200), ("", 500)])
def test_without_requirements_or_an_answer_the_prompt_is_not_understood(content: str | None, status: int) -> None:
    with pytest.raises(NotUnderstood, match="the parser"):
        parse(content, status)
