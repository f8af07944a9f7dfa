"""The scorers of `docs/extending/reward.md`: each is listed as the page says, and asked about turns."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from presets.run_config import RunConfig
from presets.run_file import load_config
from presets.scoring.scorers import SHIPPED
from rewards.fleet.worker import ScorerWorker
from rewards.reward import Reward
from rlrig.checks.dry_run import check_own_functions
from tests.docs.pages import DOCS, blocks_of, files_of
from tests.places import PRESET
from tests.rewards.turns import IMAGE, picture, turn

PAGE = (DOCS / "extending" / "reward.md").read_text(encoding="utf-8")
LISTS = [yaml.safe_load(block.text)["rewards"] for block in blocks_of(PAGE) if block.language == "yaml"]
MOVED = IMAGE.copy()
MOVED[:2] = 0  # half of a border of 4 pixels at the top


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in files_of(PAGE).items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    for name in [name for name in sys.modules if name.startswith("own_")]:
        monkeypatch.delitem(sys.modules, name)
    return tmp_path


def config_of(entries: list[dict[str, Any]]) -> RunConfig:
    return load_config(PRESET, [f"rewards={json.dumps(entries)}"])


def naming(scorer: str) -> list[dict[str, Any]]:
    (found,) = [entries for entries in LISTS if any(entry["scorer"] == scorer for entry in entries)]
    return found


@pytest.mark.parametrize("entries", LISTS, ids=lambda entries: entries[-1]["scorer"])
def test_every_list_is_taken_and_tried(entries: list[dict[str, Any]]) -> None:
    check_own_functions(config_of(entries))


def test_the_page_names_every_scorer_that_is_there() -> None:
    rows = [line.split("`")[1] for line in PAGE.splitlines() if line.startswith("| `")]
    assert [name for name in rows if name in SHIPPED] == list(SHIPPED)


def test_the_scorer_of_ten_lines_minds_the_border() -> None:
    config = config_of(naming("own_scorer:steady"))
    reward = Reward(config.rollout, config.rewards)
    same, moved = (worth.parts for worth in reward.worth("editor", [turn(), turn(image=MOVED)]))
    assert [part.name for part in same] == ["checker", "preservation", "steady"]
    assert same[2].value == 1.0
    assert moved[2].value == pytest.approx(1 - 2 * 64 / (64 * 64 - 56 * 56))
    assert moved[2].part == pytest.approx(0.2 * moved[2].value)


def test_the_scorer_with_a_part_of_a_gpu_runs_as_a_worker_of_its_fleet() -> None:
    entry = config_of(naming("own_gpu_scorer:Colourful")).rewards[1]
    assert entry.fleet is not None
    assert (entry.fleet.workers, entry.fleet.gpus) == (2, 0.1)
    ((colourful, grey),) = ScorerWorker(entry, load_config(PRESET).rollout).score([[turn(), turn(image=picture(99))]])
    red, green, blue = np.moveaxis(IMAGE.reshape(-1, 3).astype(float), 1, 0)
    sides = np.stack([red - green, (red + green) / 2 - blue])
    expected = np.hypot(*sides.std(axis=1, ddof=1)) + 0.3 * np.hypot(*sides.mean(axis=1))
    assert colourful == pytest.approx(expected / 150, rel=1e-4)
    assert grey == 0.0


def test_the_service_of_the_page_is_asked_over_http(own: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    entries = json.loads(json.dumps(naming("http")).replace(":9000/", f":{port}/"))
    config = config_of(entries)
    service = subprocess.Popen([sys.executable, str(own / "own_service.py"), str(port)])
    try:
        worths = Reward(config.rollout, config.rewards).worth("actor", [turn(), turn(image=MOVED)])
    finally:
        service.kill()
        service.wait(10)
    assert [worth.parts[1].name for worth in worths] == ["untouched"] * 2
    assert [worth.parts[1].value for worth in worths] == [1.0, pytest.approx(1 - 2 / 64)]
