import ast
import re
from collections.abc import Iterator

import pytest

from tests.places import ROOT
from tests.rooms import ROOMS

PAGE = (ROOT / "docs" / "troubleshooting.md").read_text()
ROWS = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in PAGE.splitlines() if line.startswith("| `")]


def texts(tree: ast.AST) -> Iterator[str]:
    """Every text of a module, an f-string as one with `…` for each value."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@pytest.fixture(scope="module")
def messages() -> list[str]:
    """What the packages can say; their docstrings are among it, but no documentation and no test."""
    files = [file for name in ROOMS for file in (ROOT / name).rglob("*.py")]
    return [text for file in files for text in texts(ast.parse(file.read_text()))]


def said(fragment: str, messages: list[str]) -> bool:
    """Whether a message has this text, `…` in it standing for anything within the message."""
    pattern = re.compile(".*?".join(map(re.escape, fragment.split("…"))), re.DOTALL)
    return any(pattern.search(message) for message in messages)


def test_a_page_has_a_cause_and_a_remedy_for_each_message() -> None:
    assert len(ROWS) >= 40
    assert all(len(row) == 3 and all(row) for row in ROWS)
    fragments = [row[0] for row in ROWS]
    assert len(set(fragments)) == len(fragments)


@pytest.mark.parametrize("fragment", [row[0].strip("`") for row in ROWS])
def test_every_message_of_the_page_is_still_said(fragment: str, messages: list[str]) -> None:
    words = max(fragment.split("…"), key=len).strip()
    assert len(words) >= 9, "too short to tell one message from another"
    assert said(fragment, messages)


def test_a_message_that_nothing_says_is_found_out(messages: list[str]) -> None:
    assert not said("the moon is made of …", messages)
    assert said("prompt … failed … times", ["prompt … failed … times (rollout.max_attempts)"])


def test_keys_that_a_remedy_names_exist() -> None:
    configuration = (ROOT / "docs" / "configuration.md").read_text()
    known = set(re.findall(r"^\| `(\w+)` \|", configuration, re.MULTILINE))
    named = re.findall(r"`(?:--set )?((?:rollout|vlm|learner|sync|ray|data|models)\.[\w.*]+)", PAGE)
    assert len(named) > 30
    assert [key for key in named if key.rsplit(".", 1)[-1] not in known | {"*"}] == []
