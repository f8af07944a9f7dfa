from pathlib import Path
from typing import Any

import pytest

from measuring.detector_extraction import DetectorExtractor
from measuring.image_scorer import ExactExtractor
from measuring.measures import MeasureOptions, Measures, choose_measures, default_measures, unmeasured
from measuring.vlm_extraction import VlmExtractor
from measuring.vlm_judge import VlmJudge
from presets.errors import BadInput, RunFailed
from tests.serving.endpoint.replay_server import completion, failure, replaying

URL = "https://models.example/v1"
OPENAI: dict[str, Any] = {"extractor": "openai", "base_url": URL, "extractor_model": "eye"}


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def choose(source: str = "shape_world", **options: Any) -> Measures:
    return choose_measures(MeasureOptions(**options), source)


def test_by_default_drawn_shapes_are_read_exactly_and_photographs_by_the_checker_alone() -> None:
    for measures in (choose(), choose(extractor="exact"), default_measures("shape_world")):
        assert isinstance(measures.extractor, ExactExtractor)
        assert (measures.judge, measures.endpoints) == (None, ())
    assert choose("laion_sg") == default_measures("laion_sg") == Measures()


def test_extractor_and_judge_are_two_models_behind_one_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "sk-secret")
    measures = choose("laion_sg", **OPENAI, judge_model="judge", timeout_s=7.0, api_key_env="SOME_KEY")
    assert isinstance(measures.extractor, VlmExtractor)
    assert isinstance(measures.judge, VlmJudge)
    configs = [endpoint.config for endpoint in measures.endpoints]
    assert [config.model for config in configs] == ["eye", "judge"]
    for config in configs:
        assert (config.base_url, config.timeout_s, config.deadline_s, config.api_key) == (URL, 7.0, 35.0, "sk-secret")
    assert measures.judge.report()["mode"] == "per_requirement"
    assert "sk-secret" not in str(measures.extractor.report()) + str(measures.judge.report())


def test_a_detector_is_an_extractor_that_asks_no_endpoint(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "owlv2"}')
    options: dict[str, Any] = {"extractor": "detector", "extractor_model": str(tmp_path)}
    measures = choose("laion_sg", **options)
    assert isinstance(measures.extractor, DetectorExtractor)
    assert (measures.judge, measures.endpoints) == (None, ())
    assert measures.extractor.report()["threshold"] == 0.1
    with pytest.raises(BadInput, match=r"--extractor-threshold: 2.0 is refused"):
        choose("laion_sg", **options, extractor_threshold=2.0)


def test_a_judge_can_stand_beside_the_exact_extractor_or_alone() -> None:
    measures = choose(judge_model="judge", base_url=URL, judge_mode="checklist")
    assert isinstance(measures.extractor, ExactExtractor)
    assert measures.judge is not None
    assert measures.judge.report()["mode"] == "checklist"
    assert choose("laion_sg", judge_model="judge", base_url=URL).extractor is None


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("laion_sg", {"extractor": "exact"}, "--extractor exact: reads drawn shapes only.*use --extractor openai"),
        ("laion_sg", {"extractor": "openai", "base_url": URL}, "--extractor-model: is missing"),
        ("laion_sg", {"extractor": "openai", "extractor_model": "eye"}, "--base-url: is missing; --extractor openai"),
        ("laion_sg", {"extractor": "detector"}, "--extractor-model: is missing; --extractor detector needs the folder"),
        ("laion_sg", {"extractor": "detector", "extractor_model": "/no"}, "--extractor-model: '/no' is refused: there"),
        ("shape_world", {"extractor_threshold": 0.2}, "--extractor-threshold 0.2: nothing would use it; add"),
        ("shape_world", {"judge_model": "judge"}, "--base-url: is missing; --judge-model needs the address"),
        ("shape_world", {"judge_model": "", "base_url": URL}, "--judge-model"),
        ("shape_world", {**OPENAI, "extractor_model": ""}, "--extractor-model: is missing"),
        ("shape_world", {"extractor_model": "eye", "base_url": URL}, "--extractor-model eye: .*add --extractor openai"),
        ("shape_world", {"base_url": URL}, "--base-url: nothing would use it; add"),
        ("shape_world", {"timeout_s": 3.0}, "--timeout: nothing would use it; add"),
        ("shape_world", {"api_key_env": "SOME_KEY"}, "--api-key-env: nothing would use it; add"),
        ("shape_world", {"judge_mode": "checklist"}, "--judge-mode checklist: there is no judge; add --judge-model"),
        ("shape_world", {**OPENAI, "base_url": "models.example"}, "--base-url: 'models.example' begins neither"),
        ("shape_world", {**OPENAI, "base_url": "file:///etc"}, "--base-url: 'file:///etc' begins neither"),
        ("shape_world", {**OPENAI, "timeout_s": 0.0}, "--timeout: Input should be greater than 0"),
        ("shape_world", {**OPENAI, "api_key_env": "UNSET_KEY"}, "--api-key-env: no environment variable of this name"),
        ("shape_world", {**OPENAI, "api_key_env": "sk-1"}, "--api-key-env: .*give the name, not the key"),
    ],
)
def test_what_does_not_fit_together_is_refused_with_option_and_remedy(
    source: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        choose(source, **options)


def test_a_key_would_not_travel_in_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    plain = {**OPENAI, "base_url": "http://models.example/v1"}
    with pytest.raises(
        BadInput, match=r"--base-url: .*would travel in clear; use https, or an empty --api-key-env"
    ) as e:
        choose(**plain)
    assert "sk-secret" not in str(e.value)
    assert choose(**plain, api_key_env="").endpoints[0].config.api_key == ""
    assert choose(**{**OPENAI, "base_url": "http://localhost:8000/v1"}).endpoints[0].config.api_key == "sk-secret"


def test_a_probe_tells_what_is_refused_from_what_is_down() -> None:
    choose().probe()
    with replaying(lambda *_: completion("yes")) as server:
        choose(**{**OPENAI, "base_url": server.base_url}, judge_model="judge").probe()
        assert [request["model"] for request in server.requests] == ["eye", "judge"]
    with pytest.raises(RunFailed, match=r"--base-url http://127.*, model 'eye': no connection"):
        choose(**{**OPENAI, "base_url": server.base_url}, timeout_s=0.3).probe()
    with (
        replaying(lambda *_: failure(404, "no such model")) as server,
        pytest.raises(BadInput, match="model 'eye': 404: no such model"),
    ):
        choose(**{**OPENAI, "base_url": server.base_url}).probe()


def test_an_evaluation_that_scored_nothing_says_so() -> None:
    scored = {"n_scored": 1, "n_failed": 3, "reasons": {"x": 3}}
    failed = {"n_scored": 0, "n_failed": 4, "reasons": {"401: no key": 3, "x": 1}}
    assert unmeasured({"loop": {}}) is None
    assert unmeasured({"extraction": scored, "judge": scored}) is None
    expected = "judge: none of 4 images could be scored; most often: 401: no key"
    assert unmeasured({"extraction": scored, "judge": failed}) == expected
