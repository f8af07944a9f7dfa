import json
import sys
from pathlib import Path

import pytest

from presets.errors import BadInput
from presets.run_file import load_config
from presets.scoring.scorers import ScorerConfig
from presets.settings import RolloutConfig
from rewards.trial import try_scorer
from rlrig.checks.dry_run import check_own_functions, check_services
from scenes.entry_point import EntryPointError
from tests.places import PRESET
from tests.rewards.turns import IMAGE, SCENE
from tests.serving.endpoint.replay_server import Replay, replaying

OWN = """
def fine(turns):
    assert [turn.still for turn in turns] == [True, False]
    return [len(turn.graph.requirements) for turn in turns]

def one_too_few(turns):
    return [1.0]

def text(turns):
    return ["good" for _ in turns]

class Loads:
    def __init__(self):
        raise MemoryError("this machine has no such GPU")
"""


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "scorers_of_a_trial.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "scorers_of_a_trial", raising=False)


def attempt(name: str, **settings) -> None:
    entry = ScorerConfig(scorer=f"scorers_of_a_trial:{name}", **settings)
    try_scorer(entry, RolloutConfig(), IMAGE, SCENE.graph)


def test_a_scorer_is_called_with_an_edit_and_with_a_turn_that_changes_nothing() -> None:
    attempt("fine")
    with pytest.raises(BadInput, match=r"entry 'one_too_few': .* returned 1 values for 2 turns"):
        attempt("one_too_few")
    with pytest.raises(BadInput, match=r"entry 'text': .* gave str 'good' and in all 2 values"):
        attempt("text")


def test_one_with_a_fleet_is_imported_and_not_made() -> None:
    attempt("Loads", fleet={})
    with pytest.raises(MemoryError):
        attempt("Loads")
    with pytest.raises(EntryPointError, match="has no Nothing"):
        attempt("Nothing", fleet={})


def test_options_that_do_not_fit_are_refused_before_a_run() -> None:
    config = load_config(PRESET, ["rewards=[{scorer: checker}, {scorer: preservation, options: {share: 2}}]"])
    with pytest.raises(BadInput, match=r"rewards, entry 'preservation': options .* share: 2 is refused"):
        check_own_functions(config)


def test_a_service_that_a_run_needs_is_asked_before_it_starts() -> None:
    def asking(url: str, required: bool = True) -> None:
        entry = {"scorer": "http", "http": {"url": url}, "deadline_s": 1.0, "required": required}
        check_services(load_config(PRESET, [f"rewards=[{{scorer: checker}}, {json.dumps(entry)}]"]))

    with replaying(lambda *_: Replay(body='{"values": [0.5, 1]}')) as server:
        asking(server.base_url)
    assert len(server.requests) == 1
    with pytest.raises(BadInput, match=r"rewards\.1\.scorer: 'http' is refused: .* given up at the deadline of 1 s"):
        asking(server.base_url)  # it is gone
    asking(server.base_url, required=False)
    with (
        replaying(lambda *_: Replay(body='{"values": [0.5, null]}')) as server,
        pytest.raises(BadInput, match="in all 1 values that are no finite numbers"),
    ):
        asking(server.base_url)
