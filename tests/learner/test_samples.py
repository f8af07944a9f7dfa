import numpy as np
import pytest

from actors.flow_path import FlowPath
from learner.samples import ActorSample, EditorSample

IMAGE = np.zeros((64, 64, 3), dtype=np.uint8)


def test_an_answer_needs_tokens_and_a_log_probability_for_each():
    with pytest.raises(ValueError, match="token_ids is empty"):
        ActorSample(IMAGE, "fix ?", [], [], 1.0)
    with pytest.raises(ValueError, match="1 values for 2 token_ids"):
        ActorSample(IMAGE, "fix ?", [3, 4], [-0.5], 1.0)


@pytest.mark.parametrize(("log_probs", "advantage"), [([float("nan")], 1.0), ([-1.0], float("inf"))])
def test_values_must_be_finite(log_probs, advantage):
    with pytest.raises(ValueError, match="not finite"):
        ActorSample(IMAGE, "fix ?", [3], log_probs, advantage)


def test_an_edit_needs_a_stochastic_step():
    path = FlowPath(np.zeros((1, 64, 16)), np.ones(1), np.zeros(0), 0.7)
    with pytest.raises(ValueError, match="no stochastic step"):
        EditorSample(IMAGE, "move", path, 1.0)


@pytest.mark.parametrize("image", [IMAGE[..., 0], IMAGE.astype(np.float32), IMAGE.transpose(2, 0, 1)])
def test_images_are_uint8_height_width_3(image):
    with pytest.raises(ValueError, match=r"must be uint8 of shape \(H, W, 3\)"):
        ActorSample(image, "fix ?", [3], [-1.0], 1.0)
