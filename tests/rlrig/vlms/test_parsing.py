"""`rlrig parse-prompt`: what it shows of requirements, and what it says where the VLM cannot read a prompt."""

import json

from rich.console import Console
from typer.testing import CliRunner

from rlrig.cli import app
from rlrig.vlms.parsing import as_dict, show
from scenes.vocabulary.plain_prompt import ReadPrompt
from scenes.vocabulary.vocabulary import ANY_RELATION

FOUND = ReadPrompt(ANY_RELATION.read("a lamp; two foxes; ? Is it day?"), (("smell\x1b[2J", "it has no item"),))


def run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["parse-prompt", *words])
    return result.exit_code, result.stdout + result.stderr


def test_requirements_are_shown_as_they_are_read_without_a_model() -> None:
    code, told = run("A red circle is to the left of a blue square.", "--json")
    assert code == 0
    relation = {"kind": "relation", "text": "red circle left of blue square"}
    assert json.loads(told) == {
        "event": "result",
        "prompt": "red circle left of blue square",
        "requirements": [relation],
        "unused": [],
    }
    code, told = run("red circle above star; star above red circle")
    assert code == 2
    assert "cannot both hold" in told


def test_each_requirement_is_shown_with_its_kind_and_what_was_not_used_with_its_reason() -> None:
    console = Console(record=True, width=200)
    show(FOUND, console)
    lines = [line.rstrip() for line in console.export_text().splitlines()]
    assert lines[:3] == ["presence   a lamp", "count      two foxes", "question   ? Is it day?"]
    assert lines[3].startswith("not used   smell")
    assert "\x1b" not in lines[3]
    assert lines[3].endswith(": it has no item")
    assert lines[-1] == "a lamp; two foxes; ? Is it day?"
    assert as_dict(ReadPrompt(None)) == {"prompt": "", "requirements": [], "unused": []}


def test_an_actor_that_cannot_read_plain_prompts_is_bad_input_with_the_remedy() -> None:
    code, told = run("Circles, red and blue, side by side")
    assert code == 2
    assert "prompt: the Actor's VLM " in told
    assert "Write the requirements yourself, for example 'red circle left of blue square;" in told
