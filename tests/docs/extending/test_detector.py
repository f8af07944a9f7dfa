"""The page about detectors: its run file is taken with a detector that is there; its options are those of the code."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import pytest
import yaml

from presets.errors import BadInput
from presets.run_file import load_config
from presets.truth.source import TruthSource, truth_source
from rewards.build import new_scorer
from rewards.detection.reader import DetectorReader
from rlrig.checks.dry_run import check_own_functions
from tests.docs.pages import DOCS, blocks_of
from tests.places import PRESET, ROOT
from tests.rewards.detection.tiny_detectors import tiny_owlv2
from tests.rewards.turns import turn

PAGE = (DOCS / "extending" / "detector.md").read_text(encoding="utf-8")
(GIVEN,) = [yaml.safe_load(block.text) for block in blocks_of(PAGE) if block.language == "yaml"]
LIST = GIVEN["rewards"]
FOLDER, RECORDS = "/models/owlv2", str(ROOT / "tests" / "data" / "laion_sg_example.json")


def test_the_run_file_of_the_page_is_taken_and_its_scorers_score(tmp_path: Path) -> None:
    text = json.dumps(LIST).replace(FOLDER, tiny_owlv2(tmp_path))
    config = load_config(PRESET, [f"data={json.dumps({**GIVEN['data'], 'path': RECORDS})}", f"rewards={text}"])
    check_own_functions(config)
    assert truth_source(config) == TruthSource("detector", "detector")
    assert [entry.title for entry in config.rewards] == ["checker", "detector", "preservation", "sharpness"]
    for entry in config.rewards[1:]:
        assert entry.waits == (entry.title != "sharpness")
        (value,) = new_scorer(entry, config.rollout)([turn()])
        assert 0 <= value <= 1


def test_before_a_run_starts_a_folder_that_is_missing_is_named_with_its_key() -> None:
    config = load_config(PRESET, [f"rewards={json.dumps(LIST).replace(FOLDER, '/nowhere')}"])
    with pytest.raises(BadInput, match=r"rewards, entry 'detector': .*model: '/nowhere' is refused"):
        check_own_functions(config)


def test_the_page_lists_the_options_that_there_are() -> None:
    table = PAGE.partition("| option | default | what |")[2].partition("\n\n")[0]
    listed = [line.split("`")[1] for line in table.splitlines() if line.startswith("| `")]
    assert listed == [name for name in inspect.signature(DetectorReader).parameters if name != "find"]
