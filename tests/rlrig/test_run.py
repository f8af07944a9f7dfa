"""The whole loop with all real engines: what the tutorial's run of two updates in each stage leaves."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from experiments.faults.processes import family
from rollout.trajectory import read_parquet
from tests.places import ROOT
from tests.tutorial import Tutorial

pytestmark = pytest.mark.engines

UPDATES = 2
AT_ONCE_S = 20.0  # 4 on an idle machine

REPRODUCE = """
import json, sys
import numpy as np, torch, yaml
from pathlib import Path
from PIL import Image
from diffusers import FluxKontextPipeline
from transformers import AutoModelForImageTextToText, AutoProcessor

run = Path(sys.argv[1])
torch.set_num_threads(1)
processor = AutoProcessor.from_pretrained(run / "models" / "actor")
model = AutoModelForImageTextToText.from_pretrained(run / "models" / "actor")
pipeline = FluxKontextPipeline.from_pretrained(run / "models" / "editor")
pipeline.set_progress_bar_config(disable=True)
steps = yaml.safe_load((run / "config.yaml").read_text())["editor"]["steps"]
answers, differences = [], []
for folder in sorted((run / "episodes" / "after").iterdir()):
    trace = json.loads((folder / "trace.json").read_text())
    kept, greedy = trace["turns"][0], True
    for turn in trace["turns"][1:]:
        image = Image.open(folder / kept["image"])
        if greedy:  # what was asked before is sampled
            content = [{"type": "image"}, {"type": "text", "text": turn["request"]}]
            text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
            inputs = processor(text=[text], images=[[image]], return_tensors="pt")
            made = model.generate(**inputs, max_new_tokens=48, do_sample=False)
            answer = processor.tokenizer.decode(made[0, inputs["input_ids"].shape[1]:], skip_special_tokens=True)
            answers.append([answer, turn["answer"]])
        edited = pipeline(
            image=image, prompt=turn["edit_prompt"], height=64, width=64, max_area=64 * 64, _auto_resize=False,
            max_sequence_length=32, guidance_scale=1.0, num_inference_steps=steps,
            generator=torch.Generator().manual_seed(turn["seed"]),
        ).images[0]
        own = np.asarray(Image.open(folder / turn["image"])).astype(int)
        differences.append(int(np.abs(np.asarray(edited).astype(int) - own).max()))
        greedy = turn["kept"]
        kept = turn if turn["kept"] else kept
print(json.dumps({"answers": answers, "differences": differences}))
"""


def rlrig(*arguments: str, deadline_s: float = 600) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "rlrig.cli", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=deadline_s)


@pytest.fixture(scope="module")
def run(tutorial: Tutorial) -> Path:
    return tutorial.run


def metrics_of(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_each_stage_trains_its_policy_and_the_versions_count_its_updates(run):
    lines = metrics_of(run)
    assert [line["stage"] for line in lines] == ["actor"] * UPDATES + ["editor"] * UPDATES
    assert [line["update"] for line in lines] == list(range(2 * UPDATES))
    assert [line["actor_version"] for line in lines] == [1, 2, 2, 2]
    assert [line["editor_version"] for line in lines] == [0, 0, 1, 2]
    for line in lines:
        assert line["groups"] > 0
        assert 0 <= line["reward_mean"] <= 1
        assert (line["reward_weights"], line["reward_missing"]) == ({"checker": 1.0}, {"checker": 0})
        assert 0 < line["reward_values"]["checker"] <= 1
        assert line["seconds"].keys() >= {"draw", "reflect", "edit", "check", "learn", "sync"}
        for phase, computed in line["compute_seconds"].items():
            # The learner begins on groups before its phase does, so the update bounds its work.
            assert 0 < computed < (line["seconds_total"] if phase == "learn" else line["seconds"][phase])
        assert sum(line["seconds"].values()) < line["seconds_total"]


def test_after_every_update_each_replica_holds_the_learner_s_weights_and_not_those_before(run):
    before: dict[str, str] = {}
    for line in metrics_of(run):
        weights = line["weights"]
        assert line["learner"]["tensors_changed"] > 0
        assert weights["replicas"]
        for replica in weights["replicas"].values():
            assert replica["digest"] == weights["digest"] == line["learner"]["digest"]
            assert replica["digest"] != replica["previous"]
            if line["stage"] in before:
                assert replica["previous"] == before[line["stage"]]
        before[line["stage"]] = weights["digest"]


def test_the_learner_recomputes_the_log_probabilities_of_the_rollout(run):
    for line in metrics_of(run):
        assert line["logprob_mismatch"] <= (1e-3 if line["stage"] == "actor" else 1e-4)


def test_trajectories_are_whole_and_say_with_which_versions_they_were_made(run):
    turns = read_parquet(run / "trajectories")
    lines = metrics_of(run)
    assert {turn.update for turn in turns} == set(range(2 * UPDATES))
    for turn in turns:
        line = lines[turn.update]
        assert turn.actor_version == line["actor_version"] - (line["stage"] == "actor")
        assert turn.editor_version in (-1, line["editor_version"] - (line["stage"] == "editor"))
        assert len(turn.token_ids) == len(turn.token_log_probs) > 0
        assert (turn.flow is not None) == (turn.stage == "editor")
        assert len(turn.satisfaction_after) == len(turn.requirements) > 0


def test_the_folder_holds_summary_checkpoints_models_and_a_report_without_outside_links(run):
    summary = json.loads((run / "summary.json").read_text())
    for name in ("diffuser", "before", "after"):
        assert 0 <= summary[name]["sg_iou"] <= 1
    assert (run / "checkpoints" / "00004" / "checkpoint.json").is_file()
    assert (run / "models" / "actor" / "model.safetensors").is_file()
    assert (run / "models" / "editor" / "model_index.json").is_file()
    report = (run / "report.html").read_text()
    assert "data:image/png;base64," in report
    assert "http://" not in report.replace("http://www.w3.org/", "")
    assert "https://" not in report


def test_exported_models_reproduce_the_run_s_greedy_outputs_with_plain_libraries(run):
    done = subprocess.run(
        [sys.executable, "-c", REPRODUCE, str(run)], cwd="/", capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads(done.stdout.splitlines()[-1])
    assert len(result["answers"]) >= 4
    for again, own in result["answers"]:
        assert again.strip() == own.strip()
    assert max(result["differences"]) <= 2  # of 255


@pytest.mark.parametrize(
    "moment", ["Diffuser: 1 ready", *(pytest.param(one, marks=pytest.mark.long) for one in ('"evaluate"', '"update"'))]
)
def test_an_interrupted_run_ends_with_its_exit_code_and_leaves_no_process(tmp_path, moment):
    one_each = ["--set", "diffuser.workers=1", "--set", "editor.workers=1", "--set", "evaluation.prompts=8"]
    command = [sys.executable, "-m", "rlrig.cli", "train", *one_each, "--json", "--out", str(tmp_path / "run")]
    # A process started in the background may inherit that interrupts are ignored; a terminal's does not.
    restore = (
        "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])"
    )
    with subprocess.Popen(
        [sys.executable, "-c", restore, *command], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        for line in process.stdout:  # ends with the process, whose start has deadlines of its own
            if moment in line:
                break
        else:
            pytest.fail("the run ended before it was interrupted")
        _, *children = family(process.pid)
        interrupted = time.monotonic()
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        assert process.wait(timeout=120) == 130
        assert time.monotonic() - interrupted < AT_ONCE_S
    assert len(children) > 5
    _, alive = psutil.wait_procs(children, timeout=20)
    assert alive == []


@pytest.mark.long
def test_a_run_continues_from_its_last_checkpoint_with_more_updates(run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    done = rlrig(
        "train", "--resume", "--out", str(copy), "--set", "stages.1.updates=3", "--set", "evaluation.prompts=4"
    )
    assert done.returncode == 0, done.stderr[-4000:]
    lines = metrics_of(copy)
    assert [line["update"] for line in lines] == list(range(5))
    assert lines[4]["editor_version"] == 3
    assert lines[4]["actor_version"] == 2
    assert next(iter(lines[4]["weights"]["replicas"].values()))["previous"] == lines[3]["weights"]["digest"]
