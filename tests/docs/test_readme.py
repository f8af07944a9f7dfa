"""The README stays short, its numbers are those of the results, and its commands exist."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator

import pytest
from typer.main import get_command

from experiments.frontier.systems import SYSTEMS
from rlrig.cli import app
from tests.docs.pages import DOCS, ROOT, blocks_of

README = (ROOT / "README.md").read_text()
STATUS = (DOCS / "status.md").read_text()
FRONTIER = (DOCS / "frontier" / "README.md").read_text()
RESULTS = json.loads((DOCS / "results.json").read_text())
MOST_LINES, MOST_FILES, MOST_BYTES_OF_A_PICTURE = 150, 20, 300_000
_INTERVAL = re.compile(r"([-+]?0\.\d{3}) \[([-+]?0\.\d{3}), ([-+]?0\.\d{3})\]")
_RELATIVE = re.compile(r"([-+][\d.]+) % \[([-+][\d.]+) %, ([-+][\d.]+) %\]")


def intervals_of(page: str) -> set[tuple[str, ...]]:
    """Each `mean [low, high]` of a page."""
    return {found.groups() for found in _INTERVAL.finditer(page)}


def printed(number: dict[str, float], sign: str = "") -> tuple[str, ...]:
    return tuple(f"{number[part]:{sign}.3f}" for part in ("mean", "low", "high"))


def measured() -> set[tuple[str, ...]]:
    """The SG-IoU of each arm, differences of claims and sweeps, and what the frontier says, as pages print them."""
    arms = {printed(arm["metrics"]["sg_iou"]) for by_name in RESULTS["arms"].values() for arm in by_name.values()}
    claims = {printed(claim["difference"], "+") for claim in RESULTS["claims"]}
    settings = [setting for sweep in RESULTS["sweeps"] for setting in sweep["settings"]]
    sweeps = {printed(one["difference"], "+") for one in settings if one["difference"]}
    return arms | claims | sweeps | intervals_of(FRONTIER)


def pooled() -> dict[str, list[str]]:
    """What the frontier says of RL-RIG over all prompts together, by other system: a text for each budget."""
    table = FRONTIER.partition("### All prompts together")[2].partition("###")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("|")
    ]
    return {name: texts for name, *texts in rows[2:]}


def test_the_readme_is_short_and_docs_is_tidy() -> None:
    assert len(README.splitlines()) <= MOST_LINES
    assert len([path for path in DOCS.iterdir() if path.is_file()]) <= MOST_FILES
    large = [path.name for path in (DOCS / "pictures").iterdir() if path.stat().st_size > MOST_BYTES_OF_A_PICTURE]
    assert large == []


def test_the_table_of_the_readme_has_the_arms_with_their_numbers() -> None:
    rows = {
        name: numbers.groups()
        for name, cell in re.findall(r"^\| \**([\w\- ]+?)\** \| \**(0\.\d.*?)\** \|", README, re.MULTILINE)
        if (numbers := _INTERVAL.fullmatch(cell))
    }
    assert list(rows) == ["Diffuser", "RL-RIG raw", "Editor trained", "Actor trained", "RL-RIG"]
    arms = RESULTS["arms"]["two_three"]
    assert rows == {name: printed(arms[name]["metrics"]["sg_iou"]) for name in rows}


@pytest.mark.parametrize("page", [README, STATUS], ids=["README", "status"])
def test_every_interval_was_measured(page: str) -> None:
    assert len(intervals_of(page)) >= 5
    assert intervals_of(page) - measured() == set()


def test_every_relative_gain_is_that_of_a_claim() -> None:
    found = {one.groups() for one in _RELATIVE.finditer(STATUS)}
    gains = {
        tuple(f"{100 * claim['relative'][part]:+.{digits}f}" for part in ("mean", "low", "high"))
        for claim in RESULTS["claims"]
        for digits in (0, 1)
    }
    assert len(found) >= 5
    assert found - gains == set()


def test_a_number_that_was_not_measured_is_found() -> None:
    assert intervals_of("0.609 [0.574, 0.645]") - measured() == {("0.609", "0.574", "0.645")}


def test_the_table_of_equal_compute_is_the_frontiers() -> None:
    names = {
        "best-of-k": "Best-of-k",
        "the loop, after best-of-k": "Raw loop after best-of-k",
        "a template in the Actor's place, after best-of-k": "Template Actor after best-of-k",
    }
    for said, name in names.items():
        assert f"| {said} | {' | '.join(pooled()[name][1:])} |" in README


def test_at_equal_compute_no_more_is_claimed_than_the_frontier_shows() -> None:
    """A bold interval does not contain zero."""
    untrained = [one.name for one in SYSTEMS if one.kind == "untrained"]
    assert len(untrained) == 6
    assert all(pooled()[name][1].startswith("**+") for name in untrained)  # ahead of every untrained system at 1×
    assert all(text.startswith("**+") for text in pooled()["Best-of-k"][1:])
    assert not any(text.startswith("**") for text in pooled()["Imitating Actor after best-of-k"])
    claims = [line for line in STATUS.splitlines() if line.startswith("|") and "at equal compute" in line]
    assert len(claims) == 2
    assert all("not**" in line for line in claims)
    assert "No difference is shown to an Actor that was fine-tuned" in README


def commands() -> Iterator[list[str]]:
    """Each `rlrig …` of the README, as words without `rlrig`."""
    blocks = [line for block in blocks_of(README) for line in block.text.splitlines()]
    for code in [*re.findall(r"`(rlrig [a-z][^`\n]*)`", README), *blocks]:
        if code.startswith(("rlrig ", ".venv/bin/rlrig ")):
            yield shlex.split(code)[1:]


def test_every_command_exists_and_has_these_options() -> None:
    found = list(commands())
    assert len(found) >= 10
    known = get_command(app).commands
    for name, *words in found:
        options = {
            option for parameter in known[name].params for option in (*parameter.opts, *parameter.secondary_opts)
        }
        assert {word for word in words if word.startswith("--")} - {"--help"} <= options, name
