from pathlib import Path

from reports.fault_numbers import WORDS, fault_numbers
from reports.prompt_sums import PromptSums
from reports.run_record import RunRecord

CALM = {"restarts": 0, "replaced": 0, "requeued": 0, "unanswered": 0, "rejected": {}, "groups_dropped": 0}


def record(lines: list[dict], sums: dict[int, PromptSums] | None = None, sync: dict | None = None) -> RunRecord:
    return RunRecord("run", Path("."), lines, {}, "", {"sync": sync or {}}, sums or {})


def totals(run: RunRecord) -> dict[tuple[str, str | None], float]:
    return {(n.metric, n.item): n.value for n in fault_numbers(run) if n.update is None}


def test_a_quiet_run_has_a_count_of_zero_for_each_kind() -> None:
    assert totals(record([CALM | {"update": 0}])) == {(metric, None): 0.0 for metric in WORDS}
    assert totals(record([])) == {(metric, None): 0.0 for metric in WORDS}


def test_counts_since_the_start_of_a_process_are_told_once_and_go_on_after_a_restart() -> None:
    lines = [CALM | {"update": k, "restarts": total} for k, total in enumerate([1, 1, 3, 1, 1])]
    found = [(n.update, n.value) for n in fault_numbers(record(lines)) if n.metric == "restarts"]
    assert found == [(0, 1.0), (2, 2.0), (3, 1.0), (None, 4.0)]


def test_rejected_members_and_dropped_groups_are_counted_by_reason() -> None:
    lines = [
        CALM | {"update": 0, "rejected": {"the image is black": 2}, "groups_dropped": 3},
        CALM | {"update": 1, "rejected": {"the image is black": 1, "the reward is not finite": 4}, "groups_dropped": 5},
    ]
    sums = {0: PromptSums(0, "actor", {}, {"all rewards were equal": 2, "fewer than two members were left": 1})}
    found = totals(record(lines, sums))
    assert found["rejected", None] == 7
    assert found["rejected", "the image is black"] == 3
    assert found["groups_dropped", None] == 1  # a group whose rewards were all equal is no fault
    assert ("groups_dropped", "all rewards were equal") not in found


def test_answers_that_could_not_be_parsed_are_counted_by_reason_where_a_run_has_them() -> None:
    lines = [
        CALM | {"update": 0, "unparsable": 2},  # of an older run
        CALM | {"update": 1, "unparsable": 4, "unread": {"cut off": 3, "no edit": 1}},
    ]
    found = totals(record(lines))
    assert found["unparsable", None] == 6
    assert (found["unparsable", "cut off"], found["unparsable", "no edit"]) == (3, 1)


def test_a_transfer_that_took_another_way_is_told() -> None:
    weights = {"replicas": {"a": {"transport": "gloo"}, "b": {"transport": "object_store"}}}
    lines = [CALM | {"update": 0, "stage": "editor", "weights": weights}]
    found = totals(record(lines, sync={"editor": "gloo"}))
    assert found["transport_failed", "object_store in the place of gloo"] == found["transport_failed", None] == 1
    assert totals(record(lines))["transport_failed", None] == 0  # what was asked for is not known
