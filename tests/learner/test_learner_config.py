import subprocess
import sys

import pytest
from pydantic import ValidationError

from learner.learner_config import LearnerConfig


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("learning_rate", 0),
        ("clip_low", 1.0),
        ("clip_high", -0.1),
        ("kl_coefficient", -1),
        ("importance_cap", 0.5),
        ("micro_batch", 0),
        ("zero_stage", 3),
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


def test_reading_the_settings_loads_no_engine():
    code = "import sys, learner.learner_config; print(sorted({'torch', 'ray', 'deepspeed'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr


def test_the_step_size_falls_in_a_straight_line_and_stays_where_it_ends() -> None:
    config = LearnerConfig(learning_rate=1e-3, decay_updates=4, final_fraction=0.2)
    assert [config.learning_rate_at(version) for version in (0, 1, 2, 4, 9)] == pytest.approx(
        [1e-3, 8e-4, 6e-4, 2e-4, 2e-4]
    )
    assert LearnerConfig(learning_rate=1e-3).learning_rate_at(1000) == 1e-3
