"""The tutorial does what it says: its code blocks are executed, in order, in an empty folder."""

from __future__ import annotations

import re
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image
from typer.main import get_command

from presets.run_file import load_config
from rlrig.cli import app
from rollout.local_ray import port_is_free
from scenes.extractors import extract
from tests.docs.pages import ROOT
from tests.tutorial import BLOCKS, PAGE, STEPS, Tutorial

SERVER, ASKS, NOT_RUN = "server: ", "asks the server", "not run: "
SERVER_DEADLINE_S = 300


def test_every_block_is_one_that_can_be_run_or_says_why_not() -> None:
    assert {block.language for block in BLOCKS} == {"sh", "python"}
    marks = [block.mark for block in BLOCKS if block.mark is not None]
    assert all(mark == ASKS or mark.startswith((SERVER, NOT_RUN)) for mark in marks)
    assert sum(mark.startswith(NOT_RUN) for mark in marks) == 1
    assert sum(mark.startswith(SERVER) for mark in marks) == 1
    assert PAGE.count("```") == 2 * len(BLOCKS)


def test_every_command_is_there_and_takes_these_options() -> None:
    commands = get_command(app).commands
    for line in "".join(block.text.replace("\\\n", " ") for block in BLOCKS if block.language == "sh").splitlines():
        words = line.split("#")[0].split()
        if words[:1] != ["rlrig"] or (words[1] == "serve" and "serve" not in commands):
            continue
        options = {option for parameter in commands[words[1]].params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options


def test_the_settings_of_the_training_are_taken() -> None:
    (training,) = (block.text for block in STEPS if block.text.startswith("rlrig train"))
    settings = [setting.strip("'") for setting in re.findall(r"--set ('[^']*'|\S+)", training)]
    config = load_config(ROOT / "presets" / "tiny" / "run.yaml", settings)
    assert list(config.schedule) == ["actor", "actor", "editor", "editor"]
    assert config.evaluation.prompts == 12


@pytest.mark.engines
def test_the_steps_print_and_write_what_the_page_says(tutorial: Tutorial) -> None:
    assert tutorial.of("rlrig doctor").splitlines()[-1].endswith("can run here")
    said = tutorial.of("rlrig generate").splitlines()
    assert any("first image: " in line for line in said)
    assert re.search(r"of 2 holds? after \d edits? → runs/first/episode\.png$", said[-1])
    turns = tutorial.of("runs/first/trace.json").splitlines()
    assert turns[0].startswith("turn-0.png None {'red circle left of blue square': ")
    assert (tutorial.folder / "runs" / "first" / "episode.png").is_file()
    entries = tutorial.of("ls runs/tutorial").split()
    assert {"report.html", "trajectories", "metrics.jsonl", "models", "summary.json", "checkpoints"} <= set(entries)
    table, members = tutorial.of("import pandas").split("count", 1)[1].split("member", 1)
    assert re.search(r"actor\s+0 ", table)
    assert re.search(r"editor\s+2 ", table)
    assert len(members.strip().splitlines()) == 5  # a heading and a group of four


def serves() -> bool:
    return "serve" in get_command(app).commands


@pytest.fixture(scope="module")
def server(tutorial: Tutorial) -> Iterator[None]:
    """The page's server, until the tests that ask it are through."""
    (block,) = (block for block in BLOCKS if (block.mark or "").startswith(SERVER))
    assert port_is_free(8000), "port 8000, which the page uses, is taken by another program"
    log = tutorial.folder / "server.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            block.text.split(),
            cwd=tutorial.folder,
            env=dict(tutorial.environment),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        ends = time.monotonic() + SERVER_DEADLINE_S
        while not is_ready():
            assert process.poll() is None, f"the server ended: {log.read_text()[-4000:]}"
            assert time.monotonic() < ends, f"not ready within {SERVER_DEADLINE_S} s: {log.read_text()[-4000:]}"
            time.sleep(1.0)
        yield
    finally:
        process.terminate()
        process.wait(120)


def is_ready() -> bool:
    try:
        with urllib.request.urlopen("http://127.0.0.1:8000/readyz", timeout=10) as answer:
            return answer.status == 200
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False  # it has not come so far


@pytest.mark.engines
@pytest.mark.long  # tests/studio/test_deployed_service.py asks the same service
@pytest.mark.skipif(not serves(), reason="rlrig has no command serve")
def test_the_server_answers_curl_and_the_client(server: None, tutorial: Tutorial) -> None:
    asked = [block for block in BLOCKS if block.mark == ASKS]
    outputs = [tutorial.execute(block) for block in asked]
    assert len(asked) == 2
    assert '"rlrig"' in outputs[0]
    assert '"b64_json"' in (tutorial.folder / "answer.json").read_text()
    assert outputs[1].splitlines()[0].startswith("None [")
    image = np.asarray(Image.open(tutorial.folder / "image.png").convert("RGB"))
    assert image.shape == (64, 64, 3)
    assert {"yellow triangle", "purple star"} & set(extract(image).names)
