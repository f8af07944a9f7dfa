import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from presets.errors import BadInput
from rlrig.cli import app
from rlrig.endpoint import here, on_ray, start
from rlrig.endpoint.cli import gateway_config
from rlrig.endpoint.plan import ServingPlan, serving_plan
from rollout.progress import Progress
from scenes.vocabulary.vocabulary import ANY_RELATION, FOUR_RELATIONS
from studio.config import GatewayConfig
from tests.places import ROOT, TINY


@pytest.fixture
def run(run_file: Path, tmp_path: Path) -> Path:
    """The folder of a run that has trained both policies."""
    folder = tmp_path / "runs" / "mine"
    for policy, index in (("actor", "config.json"), ("editor", "model_index.json")):
        (folder / "models" / policy).mkdir(parents=True)
        (folder / "models" / policy / index).write_text("{}")
    models = {name: str(tmp_path / "models" / name) for name in ("flux", "checker", "actor")}
    (folder / "config.yaml").write_text(run_file.read_text().split("models:")[0] + f"models: {json.dumps(models)}\n")
    (folder / "metrics.jsonl").write_text(
        json.dumps({"update": 0, "actor_version": 1, "editor_version": 0})
        + "\n"
        + json.dumps({"update": 1, "actor_version": 1, "editor_version": 1})
        + "\n"
    )
    return folder


@pytest.mark.parametrize("preset", ["cluster", "qwen-image-edit"])
def test_models_that_know_more_are_served_without_the_data_that_they_train_on(preset: str) -> None:
    plan = serving_plan(ROOT / "presets" / f"{preset}.yaml", None, False, [])
    assert not Path(plan.config.data.path or "").is_file()
    assert plan.config.vocabulary is ANY_RELATION
    assert serving_plan(None, None, False, []).config.vocabulary is FOUR_RELATIONS


def test_the_endpoint_is_told_by_its_own_keys_and_by_options() -> None:
    config = gateway_config(["gateway.max_n=3", "gateway.turn_deadline_s=2.5"], port=0)
    assert (config.max_n, config.turn_deadline_s, config.host, config.port) == (3, 2.5, "127.0.0.1", 0)


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("gateway.max_nn=3", "gateway.max_nn: unknown key, did you mean 'max_n'?"),
        ("gateway.port=high", "gateway.port: 'high' is refused"),
        ("gateway.parser_url=http://127.0.0.1:1/v1", "parser_url and parser_model: give both"),
        ("gateway.max_batch=0", "gateway.max_batch: 0 is refused"),
    ],
)
def test_a_key_of_the_endpoint_that_is_wrong_is_named(override: str, told: str) -> None:
    with pytest.raises(BadInput, match=told.replace("?", r"\?")):
        gateway_config([override])


def test_a_preset_is_served_as_it_is(run_file: Path) -> None:
    plan = serving_plan(run_file, None, False, ["rollout.turns=5"])
    assert plan.config.rollout.turns == 5
    assert (plan.raw, plan.follow, plan.versions) == (None, None, {"actor": 0, "editor": 0})
    assert serving_plan(run_file, None, True, []).raw.models == plan.config.models


def test_a_run_is_served_with_what_it_has_trained_beside_what_it_started_from(run: Path, tmp_path: Path) -> None:
    plan = serving_plan(run, None, True, [])
    assert plan.versions == {"actor": 1, "editor": 1}
    assert plan.config.models.actor == plan.config.vlm.actor.model == str((run / "models" / "actor").resolve())
    assert plan.config.models.editor == str((run / "models" / "editor").resolve())
    assert plan.raw.models.actor == str(tmp_path / "models" / "actor")
    assert plan.raw.models.editor is None


def test_a_run_that_is_followed_starts_with_the_models_that_it_started_from(run: Path, tmp_path: Path) -> None:
    for source in (None, run):
        plan = serving_plan(source, run, False, [])
        assert plan.follow == run
        assert plan.config.models.actor == str(tmp_path / "models" / "actor")
        assert plan.versions == {"actor": 0, "editor": 0}


def test_one_run_to_serve_and_another_to_follow_is_refused(run: Path, run_file: Path) -> None:
    with pytest.raises(BadInput, match=r"leave .* out"):
        serving_plan(run_file, run, False, [])


@pytest.mark.parametrize("option", [[], ["--follow"]])
def test_a_folder_that_is_no_runs_is_refused(option: list[str], tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["serve", *option, str(tmp_path)])
    assert result.exit_code == 2
    assert "holds no config.yaml" in result.stderr


def test_beyond_this_machine_a_token_is_needed_before_anything_starts(
    run_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RLRIG_TOKEN", raising=False)
    arguments = ["serve", str(run_file), "--host", "0.0.0.0"]
    refused = CliRunner().invoke(app, arguments)
    assert refused.exit_code == 2
    assert "RLRIG_TOKEN" in refused.stderr
    short = CliRunner().invoke(app, arguments, env={"RLRIG_TOKEN": "secret"})
    assert short.exit_code == 2
    assert "16" in short.stderr
    assert "secret" not in short.stderr


def test_the_small_preset_is_served_with_the_models_that_were_trained_for_it() -> None:
    plan = serving_plan(None, None, True, [])
    assert plan.versions == {"actor": 32, "editor": 16}
    assert plan.config.models.actor == str(TINY / "trained" / "models" / "actor")
    assert plan.raw.models.actor == str(TINY / "models" / "actor")
    raw = serving_plan(None, None, False, [], "raw")
    assert (raw.config.models.actor, raw.versions) == (str(TINY / "models" / "actor"), {"actor": 0, "editor": 0})


def test_raw_models_of_a_run_are_those_that_it_started_from(run: Path, tmp_path: Path) -> None:
    plan = serving_plan(run, None, False, [], "raw")
    assert (plan.config.models.actor, plan.versions) == (
        str(tmp_path / "models" / "actor"),
        {"actor": 0, "editor": 0},
    )
    with pytest.raises(BadInput, match="--models raw: what is served follows from the run"):
        serving_plan(None, run, False, [], "raw")


class Where:
    """Which of the two ways a plan was served in."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.served: list[str] = []
        monkeypatch.setattr(here, "serve_here", lambda *_: self.served.append("here"))
        monkeypatch.setattr(on_ray, "serve_on_ray", lambda *_: self.served.append("ray"))

    def __call__(self, plan: ServingPlan, local: bool | None = None, **gateway: int) -> list[str]:
        self.served.clear()
        progress = Progress()
        start.serve(plan, GatewayConfig(**gateway), "", progress, local)
        return [*self.served, *progress.notes]


def test_small_models_are_served_from_this_process_and_others_on_ray(
    run: Path, run_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where, tiny = Where(monkeypatch), serving_plan(None, None, True, [])
    assert where(tiny) == where(tiny, local=True) == ["here"]
    assert where(tiny, local=False) == ["ray", "models on Ray and vLLM: --ray"]
    joined = serving_plan(None, None, False, ["ray.address=auto"])
    assert where(joined) == ["ray", "models on Ray and vLLM: ray.address is auto"]
    assert where(tiny, max_vlm_replicas=2)[1] == "models on Ray and vLLM: gateway.max_vlm_replicas is set"
    half = serving_plan(None, None, False, ["vlm.actor.gpus=0.5"])
    with pytest.raises(BadInput, match=r"--local: vlm\.actor\.gpus is 0\.5, which needs Ray; leave --local out"):
        where(half, local=True)
    followed = replace(tiny, follow=run)
    assert where(followed)[1] == "models on Ray and vLLM: --follow puts new weights into replicas"
