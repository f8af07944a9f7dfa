"""`data.truth`: what measures, and what is refused because it would be no truth about the reward."""

import re

import pytest

from experiments.provenance import settings_digest
from presets.choice.own_prompts import with_prompts
from presets.errors import ConfigError
from presets.run_file import dump_config, load_config
from presets.truth.source import TruthSource, truth_entry, truth_source
from scenes.scene_graph import parse_prompt
from scenes.shape_world import PREDICATES
from tests.places import PRESET, ROOT

RECORDS = ROOT / "tests" / "data" / "laion_sg_example.json"
CHECKER = "{scorer: checker}"
DETECTOR = "{scorer: detector, weight: 0, required: false, options: {model: /m/owl}}"
JUDGE = (
    "{scorer: vlm_judge, weight: 0, required: false, "
    "endpoint: {base_url: 'http://127.0.0.1:9/v1', model: a/judge, api_key_env: ''}}"
)


def config(*entries: str, truth: str = "detector", more: tuple[str, ...] = ()):
    return load_config(PRESET, [f"data.truth={truth}", f"rewards=[{', '.join(entries)}]", *more])


def test_without_the_key_the_shape_world_is_exact_and_everything_else_has_none():
    plain = load_config(PRESET)
    assert truth_source(plain) == TruthSource("exact")
    assert settings_digest(plain) == settings_digest(load_config(PRESET, ["data.truth=null"]))
    records = load_config(PRESET, ["data.source=laion_sg", f"data.path={RECORDS}"])
    assert truth_source(records) is None


def test_the_entry_with_weight_0_measures_and_is_read_again(tmp_path):
    for truth, entry, title in (("detector", DETECTOR, "detector"), ("vlm", JUDGE, "vlm_judge")):
        found = config(CHECKER, entry, truth=truth)
        assert truth_source(found) == TruthSource(truth, title)
        assert truth_entry(found) == found.rewards[1]
        (tmp_path / "run.yaml").write_text(dump_config(found))
        assert truth_source(load_config(tmp_path / "run.yaml")) == truth_source(found)


def test_a_run_on_prompts_of_the_user_keeps_its_truth_but_not_the_one_of_the_shape_world(tmp_path):
    graphs = [parse_prompt("red circle left of blue square", PREDICATES)]
    assert truth_source(with_prompts(config(CHECKER, DETECTOR), graphs, tmp_path)) == TruthSource(
        "detector", "detector"
    )
    assert truth_source(with_prompts(config(CHECKER, truth="exact"), graphs, tmp_path)) is None


@pytest.mark.parametrize(
    ("entries", "truth", "more", "says"),
    [
        (
            [CHECKER],
            "detector",
            (),
            "data.truth: 'detector' is refused: 0 entries of rewards are the scorer",
        ),
        (
            [CHECKER, DETECTOR, DETECTOR.replace("detector,", "detector, name: two,", 1)],
            "detector",
            (),
            "2 entries of rewards are the scorer 'detector'",
        ),
        ([CHECKER, DETECTOR.replace("required: false, ", "")], "detector", (), "rewards.1.required: True is refused"),
        (
            [CHECKER, DETECTOR.replace("weight: 0", "weight: 0, apply_to: editor")],
            "detector",
            (),
            "rewards.1.apply_to: 'editor' is refused with data.truth 'detector': the actor trains",
        ),
        (
            [CHECKER, DETECTOR, "{scorer: detector, name: paid, options: {model: /m/sub/../owl/}}"],
            "detector",
            (),
            "rewards.2.options.model uses '/m/owl', which measures the truth in rewards.1",
        ),
        (
            [CHECKER, DETECTOR, "{scorer: preservation, weight: 0.2, options: {boxes: {model: /m/owl}}}"],
            "detector",
            (),
            "rewards.2.options.boxes.model uses '/m/owl'",
        ),
        (
            [CHECKER, JUDGE, JUDGE.replace("weight: 0", "weight: 1, name: paid")],
            "vlm",
            (),
            "rewards.2.endpoint.model uses 'a/judge', which measures the truth in rewards.1",
        ),
        (
            [CHECKER, JUDGE],
            "vlm",
            ("models.checker=hf://A/Judge",),
            "models.checker, which rewards.0 asks, uses 'a/judge'",
        ),
        (
            [CHECKER],
            "exact",
            ("data.source=laion_sg", f"data.path={RECORDS}"),
            "data.truth: 'exact' is refused with data.source 'laion_sg': it reads drawn shapes only",
        ),
        ([CHECKER], "owl", (), "data.truth: 'owl' is refused"),
    ],
)
def test_what_is_no_truth_is_refused_by_name(entries, truth, more, says):
    with pytest.raises(ConfigError) as caught:
        config(*entries, truth=truth, more=more)
    assert re.search(re.escape(says), str(caught.value)), caught.value


def test_the_same_model_may_watch_with_weight_0_and_another_one_may_reward():
    watching = "{scorer: preservation, weight: 0, required: false, options: {boxes: {model: /m/owl}}}"
    paid = "{scorer: detector, name: paid, options: {model: /m/dino}}"
    assert truth_source(config(CHECKER, DETECTOR, watching, paid)) == TruthSource("detector", "detector")
