import json
import re
from pathlib import Path

import pytest

from experiments.arms import ARMS as EVALUATED
from experiments.claims import CLAIMS, find, percent
from experiments.page import ARMS, HEADINGS, Sweep, SweepPoint, measure, plots, render, write_page
from experiments.rows import METRICS, scores_of
from presets.errors import BadInput
from reports.intervals import Bootstrap, Interval
from tests.experiments.synthetic_rows import all_rows, arm_rows

GOOD = {
    "Diffuser": 0.40,
    "Best-of-N": 0.47,
    "Random edits": 0.38,
    "RL-RIG raw": 0.45,
    "Actor trained": 0.50,
    "Editor trained": 0.52,
    "RL-RIG": 0.56,
    "RL-RIG, alternating": 0.55,
}
FULL = {
    "fast": False,
    "seeds": [0, 1, 2],
    "updates": {"Actor": 32, "editor": 16},
    "prompts": 512,
    "harder_prompts": 256,
    "minutes": {"train": 140.0, "evaluate": 31.25},
    "device": "2 cores",
    "command": "make results",
}
QUICK = Bootstrap(resamples=1000)


def page(rows: list, facts: dict | None = None, sweeps: tuple[Sweep, ...] = ()) -> str:
    return render(measure(rows, sweeps, facts or FULL, QUICK))


def line(text: str, start: str) -> list[str]:
    """The cells of the only table row that begins with `start`."""
    found = [one for one in text.splitlines() if one.startswith(f"| {start} |")]
    assert len(found) == 1, found
    return [cell.strip() for cell in found[0].strip("|").split("|")]


def section(text: str, heading: str) -> str:
    return text.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def verdicts(text: str) -> list[str]:
    return [one.rstrip("|").split("|")[-1].strip(" *") for one in section(text, "Claims").splitlines()[5:12]]


def test_arms_are_those_that_are_evaluated() -> None:
    assert set(ARMS) == {arm.name for arm in EVALUATED}
    assert tuple(HEADINGS) == METRICS


def test_every_claim_is_met_where_the_rows_say_so() -> None:
    text = page(all_rows(GOOD))
    assert verdicts(text) == ["met"] * 6 + ["reported"]
    assert "**6 of the 6 claims that were checked are met**." in text
    assert "not met" not in text
    assert "RL-RIG against Diffuser, two or three relations: **met**. SG-IoU 0.400 → 0.560" in text
    assert "above zero with 3 of 3 training seeds" in text
    cells = line(section(text, "Claims"), "RL-RIG against Diffuser")
    assert cells[2].startswith("+0.160 [+0.1")
    assert cells[3].startswith("+40.0 % [+3")
    assert cells[4:] == ["yes", "≥ +30 %", "yes", "**met**"]


def test_a_claim_below_its_target_is_printed_as_not_met() -> None:
    text = page(all_rows(GOOD | {"Diffuser": 0.45}))
    cells = line(section(text, "Claims"), "RL-RIG against Diffuser")
    assert cells[4:] == ["yes", "≥ +30 %", "no", "**not met**"]
    assert (
        "**not met**. SG-IoU 0.450 → 0.560; the interval is above zero, but +24.44 % is below the target of +30 %"
        in text
    )
    assert "**5 of the 6 claims that were checked are met**; 1 is not met." in text


def test_a_claim_whose_interval_includes_zero_is_printed_as_not_met() -> None:
    text = page(all_rows(GOOD | {"Actor trained": 0.4505}))
    claims = section(text, "Claims")
    assert line(claims, "Actor trained against RL-RIG raw")[4:] == ["no", "> 0", "no", "**not met**"]
    assert "Actor trained against RL-RIG raw, two or three relations: **not met**" in claims
    assert "the interval includes zero" in claims


def test_a_loss_is_printed_as_a_loss() -> None:
    text = page(all_rows(GOOD | {"RL-RIG": 0.30}))
    assert verdicts(text) == ["not met", "not met", "not met", "met", "met", "not met", "reported"]
    claims = section(text, "Claims")
    assert re.search(r"the whole interval is below zero, -3\d\.\d\d % is below the target of \+11 %", claims)
    assert "above zero with 0 of 3 training seeds" in claims
    assert line(claims, "RL-RIG, alternating against RL-RIG")[4:] == ["yes, above zero", "–", "–", "**reported**"]


def test_equal_arms_never_exclude_zero() -> None:
    scores = {"RL-RIG": scores_of(arm_rows("RL-RIG", 0.5, seeds=(0, 1, 2)), "sg_iou")}
    finding = find(CLAIMS[2], scores | {"Best-of-N": scores["RL-RIG"]}, QUICK)
    assert (finding.side, finding.verdict) == ("around zero", "not met")


def test_a_target_that_is_reached_only_in_the_mean_says_where_the_interval_begins() -> None:
    text = page(all_rows(GOOD | {"Diffuser": 0.4295}))
    found = re.search(r"\*\*met\*\*.*reaches the target of \+30 %, though its interval begins at \+2\d\.\d\d %", text)
    assert found


def test_no_relative_difference_to_a_baseline_at_zero_is_not_a_gain() -> None:
    text = page(all_rows(GOOD | {"Diffuser": -5.0}))
    assert line(section(text, "Claims"), "RL-RIG against Diffuser")[3:] == ["–", "yes", "≥ +30 %", "no", "**not met**"]
    assert "no relative difference can be given, because Diffuser scores too close to 0" in text


def test_the_tables_hold_means_and_intervals_of_every_metric() -> None:
    rows = all_rows(GOOD)
    results = measure(rows, (), FULL, QUICK)
    easy = section(render(results), "Prompts with two or three relations")
    raw = [row for row in rows if row.arm == "RL-RIG raw" and row.prompts == "two_three"]
    expected = QUICK.mean(scores_of(raw, "entity_iou"))
    cells = line(easy, "RL-RIG raw")
    assert cells[1:3] == ["–", "60"]
    assert cells[4] == f"{expected.mean:.3f} [{expected.low:.3f}, {expected.high:.3f}]"
    assert cells[3].startswith("0.450 [")
    assert cells[9].startswith("1.50 [")
    assert cells[10] == "0.740 [0.740, 0.740]"
    assert "every image of the arm carries the same seconds" in easy
    trained = [one for one in easy.splitlines() if one.startswith("| RL-RIG |")]
    assert trained[0].split("|")[2].strip() == "3"
    assert trained[1].replace(" ", "") == "|RL-RIG|0.560|0.560|0.560|"
    assert "SG-IoU 0.3319 → 0.3699 (+11.4 % relative)" in render(results)


def test_a_page_without_any_row_still_says_so() -> None:
    text = page([], FULL | {"failures": ["stages-seed0: ended with exit code 1"]})
    assert "No claim could be checked: 6 need arms that were not run." in text
    assert verdicts(text) == ["not run"] * 7
    assert "because RL-RIG and Diffuser were not run." in text
    assert line(section(text, "Prompts with four or five relations"), "Diffuser") == ["Diffuser", *["not run"] * 10]
    assert "svg" not in text
    assert "No sweep was run." in text
    assert "- stages-seed0: ended with exit code 1" in text


def test_arms_that_are_missing_are_not_run_and_the_rest_is_shown() -> None:
    text = page(all_rows({name: GOOD[name] for name in ("Diffuser", "RL-RIG raw", "RL-RIG")}))
    assert verdicts(text) == ["met", "met", "not run", "not run", "not run", "met", "not run"]
    assert "**3 of the 3 claims that were checked are met**; 3 more could not be checked" in text
    assert "because Best-of-N was not run." in text


def test_a_fast_page_calls_itself_a_quick_look() -> None:
    facts = {"fast": True, "command": "make results FAST=1", "seeds": [0]}
    text = page(all_rows(GOOD, seeds=(0,)), facts)
    assert "A quick look, not a result" in text
    assert "with 1 training seed and" in text
    assert line(text, "setting")[1] == "fast: a quick look with 1 training seed"
    assert line(text, "minutes")[1] == line(text, "device")[1] == "not stated"
    assert "they say nothing about how another seed would have turned out" in text
    assert "SG-IoU by training seed" not in text
    assert "quick look" not in page(all_rows(GOOD))


def test_what_was_run_is_stated_from_rows_and_facts() -> None:
    text = section(page(all_rows(GOOD), FULL | {"memory": "14 GB | half <used>"}), "What was run")
    assert line(text, "prompts evaluated")[1] == "60 with two or three relations, 60 with four or five relations"
    assert line(text, "training seeds evaluated")[1] == "0, 1, 2"
    assert line(text, "prompts planned")[1] == "512 and 256"
    assert line(text, "minutes")[1] == "train 140.0, evaluate 31.2"
    assert line(text, "updates of each policy")[1] == "Actor 32, editor 16"
    assert "| memory | 14 GB \\| half &lt;used> |" in text
    assert "```\nmake results\n```" in text
    assert "3 seeds enclose the true mean in no more than 75 % of experiments" in text


def test_a_sweep_compares_each_setting_with_the_default() -> None:
    settings = [
        SweepPoint("4", False, arm_rows("group size: 4", 0.45, seeds=(0,))),
        SweepPoint("8", True, arm_rows("group size: 8", 0.50, seeds=(0,))),
        SweepPoint("16", False, intervals={"sg_iou": Interval(0.52, 0.5, 0.54)}, seeds=(0, 1)),
        SweepPoint("32", False),
    ]
    text = section(
        page([], sweeps=(Sweep("group size", "members of a group", settings),)), "What the result depends on"
    )
    assert "### group size\n\nmembers of a group.\n" in text
    smaller = line(text, "4")
    assert smaller[1] == "1"
    assert smaller[2].startswith("0.450 [")
    assert re.fullmatch(r"-0\.050 \[-0\.0\d+, -0\.0\d+\]", smaller[5])
    assert line(text, "8 (default)")[5] == "–"
    assert line(text, "16") == ["16", "2", "0.520 [0.500, 0.540]", "–", "–", "–"]
    assert line(text, "32") == ["32", *["not run"] * 5]
    assert "Not run" not in text


def test_sweeps_of_which_only_the_default_was_run_are_named_and_not_shown() -> None:
    default = SweepPoint("8", True, arm_rows("group size: 8", 0.50, seeds=(0,)))
    other = SweepPoint("4", False, arm_rows("group size: 4", 0.45, seeds=(0,)))
    run = Sweep("group size", "members", [default, other])
    idle = [Sweep(name, "what", [default, SweepPoint("x", False)]) for name in ("grouping", "reward")]
    text = section(page([], sweeps=(run, *idle)), "What the result depends on")
    assert "**Not run**: grouping; reward.\n" in text
    assert text.count("### ") == 1
    assert "No sweep was run." in section(page([], sweeps=tuple(idle)), "What the result depends on")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ([SweepPoint("4", True), SweepPoint("8", True)], "default is set for '4', '8'"),
        ([SweepPoint("4", True, arm_rows("x", 0.5), {"sg_iou": Interval(0, 0, 0)})], "both given"),
        ([SweepPoint("4", True, intervals={"iou": Interval(0, 0, 0)})], "intervals of 'iou'"),
    ],
)
def test_a_sweep_that_contradicts_itself_is_refused(settings: list[SweepPoint], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        measure([], [Sweep("group size", "members", settings)], FULL, QUICK)


def test_bad_input_is_named() -> None:
    with pytest.raises(BadInput, match="fast is None"):
        measure([], (), {}, QUICK)
    with pytest.raises(BadInput, match="arm 'RL RIG' is not known"):
        measure(arm_rows("RL RIG", 0.5), (), FULL, QUICK)
    with pytest.raises(BadInput, match="'p059'"):
        measure(arm_rows("RL-RIG", 0.5, 59) + arm_rows("Diffuser", 0.5, 60), (), FULL, QUICK)


def test_json_holds_the_numbers_of_the_page(tmp_path: Path) -> None:
    rows = all_rows(GOOD)
    path = write_page(rows, (), FULL, tmp_path / "docs", QUICK)
    names = {"results.md", "results.json", "results-sg-iou.svg", "results-seconds.svg"}
    assert {one.name for one in path.parent.iterdir()} == names
    found = json.loads((path.parent / "results.json").read_text())
    assert found == json.loads(json.dumps(measure(rows, (), FULL, QUICK)))
    claim = found["claims"][0]
    assert claim["verdict"] == "met"
    assert claim["difference"]["mean"] == pytest.approx(0.16, abs=1e-6)
    assert claim["relative"]["low"] < 0.4 < claim["relative"]["high"]
    assert "![SG-IoU by arm](results-sg-iou.svg)" in path.read_text()


def test_a_page_without_rows_removes_the_plots_of_the_page_before(tmp_path: Path) -> None:
    write_page(all_rows(GOOD), (), FULL, tmp_path, QUICK)
    write_page([], (), FULL, tmp_path, QUICK)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["results.json", "results.md"]


def test_the_same_rows_in_another_order_give_the_same_page() -> None:
    rows = all_rows(GOOD)
    assert page(rows) == page(rows[::-1])


def test_tables_are_whole() -> None:
    """Every row of a table has as many cells as its head, and a table ends with an empty line."""
    text = page(all_rows(GOOD, seeds=(0, 1)), FULL | {"fast": True})
    tables = re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE)
    assert len(tables) == 6
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)\|", one)) for one in table.splitlines()}) == 1
        assert re.fullmatch(r"(\|---)+\|", table.splitlines()[1])
    assert "\n\n\n" not in text
    assert "{{" not in text


def test_nothing_to_plot_gives_no_plot() -> None:
    assert plots(measure([], (), FULL, QUICK)) == {}
    assert percent(0.114) == "+11.4 %"


def test_a_run_that_games_its_checker_is_named() -> None:
    one = {"policy": "editor", "updates": 12, "reward_rise": 0.25, "truth_rise": -0.03}
    trends = [{"run": "stages-seed0", **one, "gamed": False}, {"run": "weak-checker-seed0", **one, "gamed": True}]
    text = page(all_rows(GOOD), FULL | {"trends": trends})
    assert "| weak-checker-seed0 | editor | 12 | +0.250 | -0.030 | **yes** |" in text
    assert "| stages-seed0 | editor | 12 | +0.250 | -0.030 | no |" in text
    assert "Reward against truth" not in page(all_rows(GOOD))
