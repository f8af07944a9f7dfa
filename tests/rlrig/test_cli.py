import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.testing import CliRunner

from presets.errors import BadInput, RunFailed
from rlrig.cli import app
from tests.reports.synthetic_run import write_run

runner = CliRunner()


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """What the command line handed on to the run; `raises` makes the run fail."""
    seen: dict[str, Any] = {"raises": None}

    def handed_on(name: str, result: Any) -> Any:
        def call(*arguments: Any) -> Any:
            seen[name] = arguments
            if seen["raises"] is not None:
                raise seen["raises"]
            return result

        return call

    results = {
        "training.train": None,
        "evaluation.evaluate": {"before": {"sg_iou": 0.4}},
        "generation.generate": {"turns": 2},
    }
    for place, result in results.items():
        module, name = place.split(".")
        stand_in = ModuleType(f"rlrig.{module}")
        setattr(stand_in, name, handed_on(name, result))
        monkeypatch.setitem(sys.modules, stand_in.__name__, stand_in)
    monkeypatch.chdir(tmp_path)
    return seen


def test_the_command_line_loads_no_engine_before_a_command_needs_it():
    code = "import sys, rlrig.cli; print(sorted({'ray', 'torch', 'vllm', 'diffusers', 'pyarrow'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[]", done.stderr[-2000:]


def test_train_hands_on_configuration_and_folder(run_file: Path, commands: dict[str, Any]) -> None:
    result = runner.invoke(
        app, ["train", str(run_file), "--set", "rollout.group_size=6", "--set", "seed=9", "--out", "runs/x", "--quiet"]
    )
    assert result.exit_code == 0, result.output
    config, folder, resume, _, mirror, trust_pickles = commands["train"]
    assert (mirror, trust_pickles) == (None, False)
    assert (config.rollout.group_size, config.seed) == (6, 9)
    assert (folder, resume) == (Path("runs/x"), False)


@pytest.mark.parametrize(("address", "recorder"), [("null", "0"), ("127.0.0.1:6379", None)])
def test_a_training_may_forget_ended_processes_where_it_starts_ray_itself(
    run_file: Path, commands: dict[str, Any], monkeypatch: pytest.MonkeyPatch, address: str, recorder: str | None
) -> None:
    seen: list[str | None] = []
    name = "RAY_enable_open_telemetry"
    monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys.modules["rlrig.training"], "train", lambda *_: seen.append(os.environ.get(name)))
    result = runner.invoke(app, ["train", str(run_file), "--set", f"ray.address={address}"])
    assert (result.exit_code, seen) == (0, [recorder]), result.output


def test_train_names_a_new_folder_after_the_preset(run_file: Path, commands: dict[str, Any]) -> None:
    assert runner.invoke(app, ["train", str(run_file)]).exit_code == 0
    folder = commands["train"][1]
    assert folder.parent == Path("runs")
    assert folder.name.startswith(run_file.parent.name + "-")


def test_resume_takes_the_configuration_of_the_run(run_file: Path, commands: dict[str, Any], tmp_path: Path) -> None:
    run = tmp_path / "runs" / "x"
    run.mkdir(parents=True)
    (run / "config.yaml").write_text(run_file.read_text().replace("models/", f"{tmp_path}/models/"))
    result = runner.invoke(app, ["train", "--resume", "--out", str(run), "--set", "checkpoint.every=4"])
    assert result.exit_code == 0, result.output
    config, folder, resume, _, mirror, trust_pickles = commands["train"]
    assert (mirror, trust_pickles) == (None, False)
    assert (config.checkpoint.every, folder, resume) == (4, run, True)


@pytest.mark.parametrize(
    "setting",
    [
        "seed=4",
        "data.relations=[1, 2]",
        "rollout.turns=1",
        "rollout.prompts_per_update=5",
        "rollout.concurrency=3",
        "rollout.max_staleness=1",
    ],
)
def test_resume_refuses_what_the_checkpoint_follows_from(
    setting: str, run_file: Path, commands: dict[str, Any], tmp_path: Path
) -> None:
    run = tmp_path / "runs" / "x"
    run.mkdir(parents=True)
    (run / "config.yaml").write_text(run_file.read_text().replace("models/", f"{tmp_path}/models/"))
    result = runner.invoke(app, ["train", "--resume", "--out", str(run), "--set", setting])
    assert result.exit_code == 2
    assert setting.split("=")[0].split(".")[0] in result.output
    assert "refused with --resume: the run began with" in " ".join(result.output.split())
    assert "train" not in commands


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--set", "rollout.group_size=1"], "rollout.group_size: 1 is refused"),
        (["--set", "rollout.grop=turn"], "did you mean 'group'?"),
        (["--set", "nonsense"], "write key.sub=value"),
        (["--resume"], "--resume: say which run with --out runs/NAME"),
        (["--resume", "--out", "."], "holds no config.yaml"),
        (["--out", "."], "exists and is not empty; choose another, or go on with --resume"),
    ],
)
def test_bad_input_is_one_message_and_exit_2(
    run_file: Path, commands: dict[str, Any], arguments: list[str], expected: str
) -> None:
    result = runner.invoke(app, ["train", str(run_file), *arguments])
    assert result.exit_code == 2
    assert expected in result.stderr
    assert "Traceback" not in result.output
    assert "train" not in commands


def test_two_parts_of_the_faults_at_once_are_bad_input() -> None:
    result = runner.invoke(app, ["chaos", "--fast", "--kills"])
    assert result.exit_code == 2
    assert "--fast, --kills: give one of them" in result.stderr


def test_missing_run_file_and_broken_yaml_are_bad_input(run_file: Path, commands: dict[str, Any]) -> None:
    assert runner.invoke(app, ["train", "nowhere.yaml"]).exit_code == 2
    run_file.write_text("stages: [")
    result = runner.invoke(app, ["eval", str(run_file)])
    assert result.exit_code == 2
    assert "broken YAML" in result.stderr


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (RunFailed("weights of replica 2 differ"), 1, "rlrig: weights of replica 2 differ"),
        (BadInput("port 8000 is taken"), 2, "rlrig: port 8000 is taken"),
        (OSError(28, "No space left on device", "runs/x"), 1, "No space left on device: 'runs/x'"),
        (KeyboardInterrupt(), 130, "rlrig: interrupted"),
        (ZeroDivisionError("a bug"), 1, "rlrig: ZeroDivisionError: a bug"),
    ],
)
def test_exit_codes_mean_something(
    run_file: Path, commands: dict[str, Any], error: BaseException, code: int, message: str
) -> None:
    commands["raises"] = error
    result = runner.invoke(app, ["train", str(run_file), "--json"])
    assert result.exit_code == code
    assert message in result.stderr
    assert ("Traceback" in result.stderr) == isinstance(error, ZeroDivisionError)
    last = json.loads(result.stdout.splitlines()[-1])
    assert (last["event"], last["exit_code"]) == ("error", code)


def test_sigterm_ends_a_run_like_ctrl_c(
    run_file: Path, commands: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(sys.modules["rlrig.training"], "train", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    assert runner.invoke(app, ["train", str(run_file)]).exit_code == 130
    assert signal.getsignal(signal.SIGTERM) == before


def test_eval_prints_metrics_as_json(run_file: Path, commands: dict[str, Any]) -> None:
    result = runner.invoke(app, ["eval", str(run_file), "--prompts", "5", "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout.splitlines()[-1]) == {"event": "result", "before": {"sg_iou": 0.4}}
    config, run, _, _, measures = commands["evaluate"]
    assert (config.evaluation.prompts, run) == (5, None)
    assert measures.extractor.report() == {"extractor": "exact"}


def test_eval_hands_on_extractor_and_judge(run_file: Path, commands: dict[str, Any]) -> None:
    options = ["--extractor", "openai", "--base-url", "http://127.0.0.1:8000/v1", "--extractor-model", "eye"]
    options += ["--judge-model", "judge", "--judge-mode", "checklist", "--api-key-env", "", "--timeout", "9"]
    result = runner.invoke(app, ["eval", str(run_file), *options, "--json"])
    assert result.exit_code == 0, result.output
    measures = commands["evaluate"][4]
    assert [(e.config.model, e.config.timeout_s) for e in measures.endpoints] == [("eye", 9.0), ("judge", 9.0)]
    assert measures.judge.report()["mode"] == "checklist"


def test_eval_hands_on_the_detector(run_file: Path, commands: dict[str, Any]) -> None:
    (run_file.parent / "config.json").write_text('{"model_type": "owlv2"}')
    options = ["--extractor", "detector", "--extractor-model", str(run_file.parent), "--extractor-threshold", "0.2"]
    result = runner.invoke(app, ["eval", str(run_file), *options, "--json"])
    assert result.exit_code == 0, result.output
    told = commands["evaluate"][4].extractor.report()
    assert (told["model"], told["threshold"]) == (str(run_file.parent), 0.2)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--extractor", "openai", "--extractor-model", "eye"], "--base-url: is missing"),
        (["--extractor", "detector", "--extractor-model", "/nowhere"], "--extractor-model: '/nowhere' is refused"),
        (["--judge-model", "judge", "--base-url", "ftp://models.example"], "--base-url: 'ftp://models.example' begins"),
        (
            ["--extractor", "exact", "--set", "data={source: laion_sg, path: run.yaml}"],
            "--extractor exact: reads drawn",
        ),
        (["--extractor", "guess"], "--extractor"),
        (["--timeout", "0"], "--timeout"),
    ],
)
def test_eval_refuses_options_that_do_not_fit(
    run_file: Path, commands: dict[str, Any], options: list[str], expected: str
) -> None:
    result = runner.invoke(app, ["eval", str(run_file), *options])
    assert result.exit_code == 2
    assert expected in result.stderr
    assert "evaluate" not in commands


def test_eval_that_could_not_score_a_single_image_fails_after_its_result(
    run_file: Path, commands: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = {"extraction": {"n_scored": 0, "n_failed": 4, "reasons": {"400: bad image": 4}}}
    monkeypatch.setattr(sys.modules["rlrig.evaluation"], "evaluate", lambda *_: failed)
    result = runner.invoke(app, ["eval", str(run_file), "--json"])
    assert result.exit_code == 1
    assert "none of 4 images could be scored; most often: 400: bad image" in result.stderr
    assert json.loads(result.stdout.splitlines()[0]) == {"event": "result", **failed}


def test_eval_writes_its_file_beside_the_run_or_where_it_is_told(run_file: Path, commands: dict[str, Any]) -> None:
    assert runner.invoke(app, ["eval", str(run_file)]).exit_code == 0
    assert commands["evaluate"][3].match("runs/eval-*.json")
    assert runner.invoke(app, ["eval", str(run_file), "--out", "there.json"]).exit_code == 0
    assert commands["evaluate"][3] == Path("there.json")


def test_generate_reads_the_prompt(run_file: Path, commands: dict[str, Any]) -> None:
    prompt = "red circle left of blue square; green star above red circle"
    arguments = ["generate", prompt, "--preset", str(run_file), "--out", "pictures", "--seed", "3"]
    result = runner.invoke(app, arguments)
    assert result.exit_code == 0, result.output
    _, graph, run, folder, seed, _, on_ray = commands["generate"]
    assert graph.prompt == prompt
    assert (run, folder, seed, on_ray) == (None, Path("pictures"), 3, False)
    assert runner.invoke(app, [*arguments, "--ray"]).exit_code == 0
    assert commands["generate"][-1] is True


@pytest.mark.parametrize("prompt", ["", "red circle", "red circle beside blue square", "left of blue square"])
def test_generate_refuses_a_prompt_without_a_triple(run_file: Path, commands: dict[str, Any], prompt: str) -> None:
    result = runner.invoke(app, ["generate", prompt, "--preset", str(run_file)])
    assert result.exit_code == 2
    assert result.stderr.startswith("rlrig: prompt: ")


def test_report_of_no_run_is_bad_input(tmp_path: Path) -> None:
    result = runner.invoke(app, ["report", str(tmp_path)])
    assert result.exit_code == 2
    assert "give the folder of a run" in result.stderr


def test_report_of_several_runs_goes_into_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runs = [str(write_run(tmp_path / name, updates=1, prompts=2)) for name in ("a", "b")]
    result = runner.invoke(app, ["report", *runs])
    assert result.exit_code == 0, result.output
    page = Path(result.stdout.strip())
    assert page.is_file()
    assert (page.parent.parent, page.parent.name[:7]) == (Path("runs"), "report-")
    assert runner.invoke(app, ["report", runs[0], "--out", "alone"]).stdout.strip() == "alone/report.html"


def test_unknown_options_and_help() -> None:
    assert runner.invoke(app, ["train", "--bogus"]).exit_code == 2
    help_text = runner.invoke(app, ["--help"])
    assert help_text.exit_code == 0
    for command in ("train", "eval", "generate", "pretrain", "doctor", "report"):
        assert command in help_text.stdout
