from dataclasses import replace
from pathlib import Path

from reports.run_facts import differing_settings, fact_numbers, facts
from reports.run_record import RunRecord, read_run
from tests.reports.synthetic_run import write_run


def test_the_facts_of_a_run_say_what_was_asked_for_and_how_far_it_came(tmp_path: Path) -> None:
    record = read_run(write_run(tmp_path / "run", updates=2, seed=5))
    found = facts(record)
    assert found["state"] == "finished, 4 of 4 updates"
    assert (found["seed"], found["members in a group"], found["held-out prompts"]) == ("5", "4", "24")
    assert (found["actor updates"], found["last versions"]) == ("2", "actor 2, editor 2")
    assert (found["time in updates"], found["time of the whole run"]) == ("0:52", "3:15")
    numbers = {(number.section, number.metric): number.value for number in fact_numbers(record)}
    assert numbers["fact", "updates_planned"] == numbers["fact", "updates"] == 4
    assert numbers["configuration", "stages.1.updates"] == 2
    assert numbers["configuration", "rollout.group_size"] == 4


def test_a_run_of_which_nothing_is_known_has_no_facts_but_its_state() -> None:
    record = RunRecord("run", Path("."), [], {}, "", {}, {})
    assert facts(record) == {"state": "not finished, 0 updates"}
    assert [(number.metric, number.value) for number in fact_numbers(record)] == [("updates", 0.0)]


def test_a_model_is_called_by_its_last_name() -> None:
    record = RunRecord("run", Path("."), [], {}, "", {"models": {"flux": "/somewhere/flux-small/"}}, {})
    assert facts(record)["Diffuser and editor"] == "flux-small"


def test_only_settings_that_differ_are_told() -> None:
    first = RunRecord("a", Path("."), [], {}, "", {"seed": 1, "data": {"relations": [2, 3]}, "lora": None}, {})
    second = replace(first, config={"seed": 1, "data": {"relations": [2, 5]}, "lora": {"rank": 4}})
    assert differing_settings([first, second]) == {
        "data.relations.1": ["3", "5"],
        "lora": ["null", "–"],
        "lora.rank": ["–", "4"],
    }


def test_scorers_are_told_with_their_weights_where_there_are_several() -> None:
    entries = [{"scorer": "checker"}, {"scorer": "a:b", "name": "far", "weight": 0.5}, "nonsense"]
    record = RunRecord("run", Path("."), [], {}, "", {"rewards": entries}, {})
    assert facts(record)["scorers"] == "1 × checker, 0.5 × far"
    assert "scorers" not in facts(replace(record, config={"rewards": entries[:1]}))
    assert "scorers" not in facts(replace(record, config={"rewards": 3}))
