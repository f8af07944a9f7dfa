import base64
import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from presets.errors import BadInput
from presets.keep import KeepConfig
from reports.number import NUMBERS_SCHEMA
from reports.report import MOST_RUNS, write_report
from rollout.trajectory import read_parquet, write_parquet
from tests.reports.held_out_episodes import write_evaluation
from tests.reports.synthetic_run import write_run


class Page(HTMLParser):
    """What a browser would ask for, what can be reached by keyboard, numbers, and texts outside charts and code."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.numbers: list[tuple[float, str]] = []
        self.ids: set[str] = set()
        self.words: list[str] = []
        self.images_without_alt = 0
        self._open: list[str] = []
        self._value = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "action")]
        self.ids |= {found["id"]} if "id" in found else set()
        self.images_without_alt += tag == "img" and not found.get("alt")
        if tag == "data":
            self._value = found["value"]
        if tag not in ("meta", "link", "img", "br"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        if "data" in self._open:
            self.numbers.append((float(self._value), data))
        elif not {"svg", "style", "pre", "title"} & set(self._open):
            self.words.append(data)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs, `first` and `second`, and the report of each and of both."""
    folder = tmp_path_factory.mktemp("report")
    write_run(folder / "first", updates=6, prompts=5)
    for name, holds in (("before", [True, False]), ("after", [True, True])):
        write_evaluation(folder / "first", name, holds)
    begun = {"update": 0, "began": 1.8e9, "config": {"seed": 0}, "made_with": {"code": "rlrig 0, commit abc"}}
    again = {"update": 3, "config": {"seed": 0, "rollout": {"group_size": 4}}}
    (folder / "first" / "starts.jsonl").write_text(f"{json.dumps(begun)}\n{json.dumps(again)}\n")
    write_run(folder / "second", updates=4, seed=1, members=3)
    for runs, out in ((["first"], "one"), (["first", "second"], "both")):
        write_report([str(folder / run) for run in runs], folder / out)
    return folder


@pytest.fixture(params=["one", "both"])
def report(folder: Path, request: pytest.FixtureRequest) -> Path:
    return folder / request.param


def text_of(run: Path, out: Path) -> str:
    return write_report([str(run)], out).read_text()


def test_a_report_asks_for_nothing_outside_itself(report: Path) -> None:
    text = (report / "report.html").read_text()
    page = Page(text)
    inside = [address for address in page.addresses if address.startswith("#")]
    assert [address for address in page.addresses if not address.startswith(("data:", "#"))] == []
    assert {address[1:] for address in inside} <= page.ids
    assert len(inside) == 9
    assert "<script" not in text
    assert re.findall(r"url\(|@import", text) == []


def test_every_number_of_the_page_is_in_the_table_and_in_the_json(report: Path) -> None:
    page = Page((report / "report.html").read_text())
    values = json.loads((report / "report.json").read_text())
    table = pq.read_table(report / "report.parquet")
    assert table.schema.equals(NUMBERS_SCHEMA, check_metadata=True)
    assert table.to_pylist() == values["numbers"]
    known = {row[part] for row in values["numbers"] for part in ("value", "low", "high")}
    assert len(page.numbers) > 300
    assert {value for value, _ in page.numbers} <= known
    for value, shown in page.numbers:
        assert float(shown) == pytest.approx(value, abs=5.1e-3, rel=5.1e-4)
    everything = json.dumps(values, ensure_ascii=False)
    written = re.findall(r"\d+(?:\.\d+)?", " ".join(page.words))
    places = {str(place) for place in range(1, 9)}  # of episodes, turns and sections
    assert [number for number in written if number not in everything and number not in places] == []


def test_images_are_png_with_words_for_who_cannot_see_them(report: Path) -> None:
    text = (report / "report.html").read_text()
    images = re.findall(r'src="data:image/png;base64,([^"]+)"', text)
    assert len(images) >= 10
    assert all(base64.b64decode(image).startswith(b"\x89PNG") for image in images)
    assert Page(text).images_without_alt == 0
    labels = re.findall(r'<svg class="chart"[^>]* role="img" aria-label="([^"]*)"', text)
    assert len(labels) == text.count('<svg class="chart"') > 5
    assert all(labels)


def test_one_run_is_told_with_its_change_paired_by_prompt(folder: Path) -> None:
    page = Page((folder / "one" / "report.html").read_text())
    words = " ".join(" ".join(page.words).split())
    for part in ("after − before", "95 % bootstrap over held-out prompts", "red circle right of blue square", "best 1"):
        assert part in words
    for part in ("worst 2", "EnvRunners that ended and were started again", "finished, 12 of 12 updates"):
        assert part in words
    assert "What is missing" not in words


def test_runs_lie_over_each_other_and_their_settings_are_compared(folder: Path) -> None:
    values = json.loads((folder / "both" / "report.json").read_text())
    assert values["differing_settings"]["rollout.group_size"] == ["4", "3"]
    assert {n["run"] for n in values["numbers"] if n["section"] == "comparison"} == {"second"}
    text = (folder / "both" / "report.html").read_text()
    assert "The last evaluation of each run minus that of first" in text
    assert text.count("worst 1</span>") == 4  # each policy of each run


def test_a_report_lies_in_the_run_s_folder_unless_told_otherwise(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", updates=1)
    assert write_report([str(run)]) == run / "report.html"
    assert {"report.html", "report.parquet", "report.json"} <= {path.name for path in run.iterdir()}
    with pytest.raises(BadInput, match="--out: is missing; several runs"):
        write_report([str(run), str(run)])
    with pytest.raises(BadInput, match="two runs are called"):
        write_report([str(run), str(run)], tmp_path)
    with pytest.raises(BadInput, match=f"9 runs were given; give between 1 and {MOST_RUNS}"):
        write_report([str(run)] * 9, tmp_path)


def test_runs_whose_folders_are_called_alike_are_told_apart(tmp_path: Path) -> None:
    runs = [str(write_run(tmp_path / parent / "run", updates=1)) for parent in ("a", "b")]
    write_report(runs, tmp_path)
    assert [run["name"] for run in json.loads((tmp_path / "report.json").read_text())["runs"]] == ["a/run", "b/run"]


def test_a_run_at_a_uri_gives_the_same_numbers(folder: Path, tmp_path: Path) -> None:
    write_report([f"file://{folder}/first"], tmp_path)
    assert pq.read_table(tmp_path / "report.parquet").equals(pq.read_table(folder / "one" / "report.parquet"))
    with pytest.raises(BadInput, match=r"RUN file://.*/nowhere: holds none of config\.yaml"):
        write_report([f"file://{folder}/nowhere"], tmp_path)


def test_what_a_model_writes_is_never_markup(tmp_path: Path) -> None:
    text = text_of(write_run(tmp_path / "run", updates=1, hostile="<script>alert(1)</script>"), tmp_path / "out")
    assert "<script" not in text
    assert "&lt;script&gt;" in text


def test_a_run_that_has_just_begun_gives_a_page_that_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("seed: 1\nstages: [{stage: actor, updates: 3}]\n")
    text = text_of(tmp_path / "run", tmp_path / "out")
    for part in ("No update was finished", "no held-out evaluation", "There are no trajectories", "of 3 updates"):
        assert part in text
    assert '<svg class="chart"' not in text


def test_a_run_that_was_cut_off_and_is_damaged_is_shown_as_far_as_it_goes(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"update": 8, "sta')
    (run / "summary.json").unlink()
    (run / "trajectories" / "00003.parquet").write_bytes(b"not parquet")
    text = text_of(run, tmp_path / "out")
    for part in ("line 9: not a JSON object", "00003.parquet is left out", "8 of 8 updates are there", "update 2 "):
        assert part in text
    assert text.count('<svg class="chart"') == 9


def test_runs_with_different_metrics_are_compared_in_what_each_has(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / name, updates=1, seed=seed) for seed, name in enumerate(("old", "new"))]
    lines = [json.loads(line) for line in (runs[0] / "metrics.jsonl").read_text().splitlines()]
    kept = ("update", "stage", "reward_mean")
    (runs[0] / "metrics.jsonl").write_text("".join(json.dumps({k: line[k] for k in kept}) + "\n" for line in lines))
    shutil.rmtree(runs[0] / "trajectories")
    shutil.rmtree(runs[0] / "held_out")
    text = write_report([str(run) for run in runs], tmp_path / "out").read_text()
    values = json.loads((tmp_path / "out" / "report.json").read_text())
    assert {n["run"] for n in values["numbers"] if n["metric"] == "truth_mean"} == {"new"}
    assert {n["run"] for n in values["numbers"] if n["metric"] == "reward_mean"} == {"old", "new"}
    assert "What is missing in old" in text
    assert "What is missing in new" not in text


def test_an_empty_folder_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"holds neither config\.yaml nor metrics\.jsonl"):
        write_report([str(tmp_path)])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kept", ["latents", "none"])
def test_a_run_that_kept_no_images_has_a_report_that_says_so(tmp_path: Path, kept: str) -> None:
    run = write_run(tmp_path / "bare", updates=2, flow=True)
    for file in (run / "trajectories").iterdir():
        write_parquet(read_parquet(file), file, KeepConfig(actor="images", editor=kept))
    write_report([str(run)])
    words = " ".join(" ".join(Page((run / "report.html").read_text()).words).split())
    assert "The images of update 3 were not kept (keep.editor in the run file)." in words
    assert "The images of update 1 were not kept" not in words
    assert "the image was not kept" in words
    assert "cannot be read" not in words
    numbers = json.loads((run / "report.json").read_text())["numbers"]
    assert {number["policy"] for number in numbers if number["section"] == "episode"} == {"actor", "editor"}


def test_the_verdict_the_pictures_and_the_main_curve_come_before_everything_else(folder: Path) -> None:
    text = (folder / "one" / "report.html").read_text()
    places = [
        text.index(part) for part in ("Training raised SG-IoU", "none chosen", "<h3>Reward</h3>", '<h2 id="run">')
    ]
    assert places == sorted(places)
    assert text.index("Diffuser 0 of 2, untrained 1 of 2, trained 2 of 2") < places[2]
    assert (folder / "one" / "before_after.png").is_file()
    assert not (folder / "both" / "before_after.png").exists()
    assert text.index('id="made"') < text.index('id="held-out"') < text.index("config.yaml of first")


def test_every_start_is_told_with_what_it_was_made_with_and_what_it_changed(folder: Path) -> None:
    starts = json.loads((folder / "one" / "report.json").read_text())["runs"][0]["starts"]
    assert starts["start 1, from update 0"] == {
        "began": "2027-01-15 08:00 UTC",
        "code": "rlrig 0, commit abc",
        "seed": "0",
    }
    assert starts["start 2, from update 3"]["settings that changed"] == "rollout.group_size – → 4"
    text = (folder / "one" / "report.html").read_text()
    assert "commit abc" in text
    assert (
        text.index("all settings of start 1")
        < text.index("all settings of start 2")
        < text.index("&#34;group_size&#34;: 4")
    )


def test_a_reward_of_one_s_own_is_called_so(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", updates=6)
    config = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(config.replace("group_size", "reward: 'mine:careful', group_size"))
    text = text_of(run, tmp_path / "out")
    assert "own reward (mine:careful)" in text
    assert "the reward of your own changed by" in text
    assert "Checker&#39;s reward" not in text.replace("the Checker&#39;s reward", "")


def test_an_arrow_leads_only_from_an_image_to_its_edit(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", updates=1, prompts=1)
    for file in (run / "trajectories").iterdir():
        rows = [replace(row, carried_on=row.carried_on and row.turn > 0) for row in read_parquet(file)]
        kept = {row.prompt: row.image_before for row in rows if row.turn == 0}
        write_parquet([row if row.turn == 0 else replace(row, image_before=kept[row.prompt]) for row in rows], file)
    text = text_of(run, tmp_path / "out")
    assert text.count('<span class="arrow">') == text.count("edits the first image</span>") == 2  # one a policy
    assert "discarded" in text
