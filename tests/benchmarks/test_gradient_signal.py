from __future__ import annotations

import pytest
import torch
from typer import Typer
from typer.testing import CliRunner

from benchmarks.gradient_signal import GradientSums, _window, main
from presets.errors import BadInput


def sums_of(gradients: torch.Tensor) -> GradientSums:
    sums = GradientSums()
    for gradient in gradients:
        sums.add(gradient)
    return sums


def test_equal_gradients_are_all_signal_and_opposite_ones_none():
    same = sums_of(torch.tensor([[3.0, 4.0]]).repeat(5, 1))
    assert same.signal == pytest.approx(1.0)
    assert same.cosine(18) == pytest.approx((18 / 19) ** 0.5)
    opposite = sums_of(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
    assert opposite.signal == pytest.approx(-1.0)
    assert opposite.cosine(18) == 0.0


def test_the_signal_is_estimated_without_bias():
    """A common part of length 1 in noise of length 3: ρ = 1 / (1 + 9), whatever the number of groups."""
    generator = torch.Generator().manual_seed(0)
    common = torch.zeros(100)
    common[0] = 1.0
    found = [
        sums_of(common + 0.3 * torch.randn(groups, 100, generator=generator)).signal for groups in [5] * 300 + [40] * 40
    ]
    assert sum(found[:300]) / 300 == pytest.approx(0.1, abs=0.02)
    assert sum(found[300:]) / 40 == pytest.approx(0.1, abs=0.02)


def test_one_group_says_nothing_of_the_signal():
    with pytest.raises(ValueError, match="1 groups"):
        _ = sums_of(torch.ones(1, 3)).signal


@pytest.mark.parametrize("text", ["1", "2:1", "0:4", "a:b", "-1:2"])
def test_a_window_that_is_none_is_refused(text: str):
    with pytest.raises(BadInput, match="START < STOP < 4"):
        _window(text, 4)
    assert _window("1:3", 4) == (1, 3)


def test_a_folder_without_edits_is_refused_by_name(tmp_path):
    (tmp_path / "config.yaml").write_text("seed: 0\n")
    app = Typer()
    app.command()(main)
    result = CliRunner().invoke(app, [str(tmp_path)])
    assert result.exit_code != 0
