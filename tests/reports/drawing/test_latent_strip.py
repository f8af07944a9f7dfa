import numpy as np
import pytest

from actors.flow_path import FlowPath
from reports.drawing.latent_strip import latent_pictures, strip_of


def path_of(latents):
    steps = len(latents) - 1
    return FlowPath(latents, np.linspace(1, 0.5, steps + 1), np.full(steps, -1.0), 0.7)


def test_packed_tokens_are_unpacked_to_places():
    grid = np.arange(2 * 4 * 8 * 16, dtype=np.float32).reshape(2, 4, 8, 16)  # two states, 8 × 16 places packed
    places = np.zeros((2, 8, 16, 4), np.float32)
    places[:, 3, 5, 1] = 1.0  # row 3 and column 5: token (1, 2), its lower right place
    grid = places.reshape(2, 4, 2, 8, 2, 4).transpose(0, 1, 3, 5, 2, 4).reshape(2, 32, 16)
    grid[0] = 0
    pictures = latent_pictures(path_of(grid), 64, 128)
    assert [picture.shape for picture in pictures] == [(8, 16, 3)] * 2
    assert pictures[0].max() == 0
    assert np.argwhere(pictures[1] == 255).tolist() == [[3, 5, 1]]


def test_all_states_have_one_scale():
    latents = np.stack([np.full((4, 3), value, np.float32) for value in (-2.0, 0.0, 2.0)])
    assert [int(picture[0, 0, 0]) for picture in latent_pictures(path_of(latents), 32, 32)] == [0, 128, 255]


def test_fewer_than_three_channels_are_grey():
    latents = np.random.default_rng(0).normal(size=(2, 4, 2)).astype(np.float32)
    picture = latent_pictures(path_of(latents), 8, 8)[0]
    assert (picture[..., 0] == picture[..., 2]).all()


def test_values_that_are_not_finite_do_no_harm():
    latents = np.array([[[np.nan] * 3] * 4, [[1.0] * 3] * 4], np.float32)
    assert [int(picture.max()) for picture in latent_pictures(path_of(latents), 8, 8)] == [0, 255]


def test_tokens_that_fill_no_such_image_are_refused():
    with pytest.raises(ValueError, match="5 tokens"):
        latent_pictures(path_of(np.zeros((2, 5, 3), np.float32)), 32, 32)


def test_the_clean_latent_of_an_edit_by_the_ode_is_a_strip_of_one():
    latents = np.random.default_rng(0).normal(size=(1, 4, 16)).astype(np.float32)
    clean = FlowPath(latents, np.array([1.0, 0.6, 0.0]), np.zeros(0), 0.0)
    row = {"flow": clean.to_record(), "edit_prompt": "move a", "stage": "editor", "image_before": None}
    (only,), why = strip_of(row)
    assert (only.sigma, only.log_prob, why) == (0.0, None, None)
    sampled = FlowPath(np.concatenate([latents] * 2), np.array([1.0, 0.6]), np.array([-1.0]), 0.7)
    two, _ = strip_of({**row, "flow": sampled.to_record()})
    assert [(one.sigma, one.log_prob) for one in two] == [(1.0, None), (pytest.approx(0.6), -1.0)]
