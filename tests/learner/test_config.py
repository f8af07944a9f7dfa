import subprocess
import sys

import pytest
from pydantic import ValidationError

from learner.config import LearnerConfig


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("learning_rate", 0),
        ("clip_low", 1.0),
        ("clip_high", -0.1),
        ("kl_coefficient", -1),
        ("importance_cap", 0.5),
        ("micro_batch", 0),
        ("zero_stage", 4),
        ("lora", {"rank": 0, "target_modules": ["q_proj"]}),
        ("lora", {"alpha": 0.0, "target_modules": ["q_proj"]}),
        ("lora", {"target_modules": []}),
        ("lora", {"target_modules": ["q_proj", ""]}),
        ("lora", {"target_modules": "q_proj("}),
        ("lora", {"rank": 4}),
        ("ranks", 0),
        ("betas", (0.9, 1.0)),
        ("learning_rat", 1e-4),
    ],
)
def test_impossible_values_are_refused_with_the_fields_name(field, value):
    with pytest.raises(ValidationError, match=field):
        LearnerConfig(**{field: value})


def test_zero_needs_ranks_to_split_over():
    with pytest.raises(ValidationError, match="zero_stage is 2 with ranks 1"):
        LearnerConfig(zero_stage=2)
    assert LearnerConfig(zero_stage=2, ranks=2).ranks == 2
    assert LearnerConfig(zero_stage=2, dtype="bfloat16").ranks == 1  # for the float32 that ZeRO keeps besides


def test_adapters_are_named_by_a_list_or_by_one_expression():
    assert LearnerConfig().lora is None
    listed = LearnerConfig(lora={"rank": 8, "alpha": 16, "target_modules": ["q_proj", "v_proj"]}).lora
    assert (listed.rank, listed.alpha, listed.target_modules) == (8, 16.0, ("q_proj", "v_proj"))
    assert LearnerConfig(lora={"target_modules": r".*\.q_proj"}).lora.target_modules == r".*\.q_proj"


def test_reading_the_settings_loads_no_engine():
    code = "import sys, learner.config; print(sorted({'torch', 'ray', 'deepspeed'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr


def test_the_step_size_falls_in_a_straight_line_and_stays_where_it_ends() -> None:
    config = LearnerConfig(learning_rate=1e-3, decay_updates=4, final_fraction=0.2)
    assert [config.learning_rate_at(version) for version in (0, 1, 2, 4, 9)] == pytest.approx(
        [1e-3, 8e-4, 6e-4, 2e-4, 2e-4]
    )
    assert LearnerConfig(learning_rate=1e-3).learning_rate_at(1000) == 1e-3
