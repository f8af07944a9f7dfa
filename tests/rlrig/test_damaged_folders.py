"""Whatever lies in a run's folder, its report, status and pages are made, or refused by the name of a file."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reports.reading import tokens
from reports.report import write_report
from studio.pages.rendering import render
from studio.pages.run_index import RunsFolder
from tests.places import ROOT
from tests.reports.reading.damage import copy_of, damage
from tests.reports.synthetic_run import write_run
from tests.rlrig.run_views import LINKS, seen, views

SECONDS = 30.0  # for all views of one folder, on a machine that does other things as well
TOKENIZER = ROOT / "presets" / "tiny" / "models" / "actor" / "tokenizer.json"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = write_run(tmp_path_factory.mktemp("sound") / "run", updates=1, prompts=2, members=3, flow=True)
    (run / "models" / "actor").mkdir(parents=True)
    shutil.copyfile(TOKENIZER, run / "models" / "actor" / "tokenizer.json")
    live = {"run": "run", "state": "finished", "phase_since": 1.0, "at": 2.0, "started": 0.0, "host": "h", "pid": 1}
    (run / "progress.json").write_text(json.dumps({**live, "pid_started": 0.0, "done": 2, "total": 2}))
    return run


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10**6))
def test_a_damaged_folder_is_shown_or_refused_by_name(sound: Path, seed: int) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        run = copy_of(sound, Path(scratch) / "runs" / "run")
        done = damage(run, seed)
        start = time.monotonic()
        for name, make in views(run, Path(scratch) / "out"):
            text = seen(make)
            assert text, f"{name} after {done}"
            assert "\x1b" not in text, f"{name} after {done}"
        assert time.monotonic() - start < SECONDS, done


METRICS = {
    '"reward_mean": 1e308': "line 1: reward_mean is 1e+308, left out",
    f'"reward_mean": 1{"0" * 400}': "line 1: reward_mean is inf, left out",
    '"seconds": {"a": "x", "b": 1}': "seconds.a is 'x', left out (no number)",
    f'"x": {"[" * 50_000}': "line 1: not a JSON object, left out (it is nested too deeply)",
    f'"x": "{"y" * (1 << 20)}"': "line 1: longer than 1048576 bytes, left out",
}
OTHERS = [
    ("summary.json", '{"before": {"a": 1e999}, "minutes": "x"}', "summary.json: before.a is inf, left out"),
    ("config.yaml", "seed: !!int ''", "config.yaml: seed is '', left out (no int"),
    ("config.yaml", "a: &a [*a]", "config.yaml is left out: it is nested more than 12 deep"),
]


@pytest.mark.parametrize(
    ("file", "text", "named"),
    [*(("metrics.jsonl", f'{{"update": 0, {text}}}\n', named) for text, named in METRICS.items()), *OTHERS],
    ids=range(len(METRICS) + len(OTHERS)),
)
def test_what_is_left_out_is_named_with_its_place(tmp_path: Path, file: str, text: str, named: str) -> None:
    run = write_run(tmp_path / "run", updates=1)
    (run / file).write_text(text)
    for name, make in views(run, tmp_path / "out"):
        if name in ("report", "run"):
            assert named.replace("'", "&#39;") in make(), name


def test_one_bad_folder_does_not_take_the_list_down(sound: Path, tmp_path: Path) -> None:
    copy_of(sound, tmp_path / "good")
    bad = copy_of(sound, tmp_path / "bad \udcff")
    (bad / "metrics.jsonl").write_bytes(b'{"update": 0, "stage": "\\ud800", "reward_mean": 1e308}\n')
    text = render("runs", list=RunsFolder(tmp_path).page(), links=LINKS)
    assert "good" in text
    assert "bad" in text.encode().decode()


def test_a_tokenizer_that_kills_its_process_is_not_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "BYTES", 1 << 20)  # a process that cannot even import the library
    asked: list[object] = []
    ask = tokens._asked
    monkeypatch.setattr(tokens, "_asked", lambda *given: asked.append(given) or ask(*given))
    tokenizers = tokens.Tokenizers()
    for _ in range(2):
        with pytest.raises(tokens.NoTokenizer, match="holds no tokenizer that can be loaded within its limits"):
            tokenizers.texts(TOKENIZER, [79])
    assert len(asked) == 1


def test_absurd_magnitudes_make_no_page_of_megabytes(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", updates=1)
    values = (5e-324, 1e-300, 1e15, 3.0)
    lines = [{"update": k, "stage": "actor", "reward_mean": v, "logprob_mismatch": v} for k, v in enumerate(values)]
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert write_report([str(run)]).stat().st_size < 3_000_000
