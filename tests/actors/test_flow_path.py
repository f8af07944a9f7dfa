import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.flow_path import FlowOde, FlowPath, FlowSde, from_array, to_array

KIND = pa.struct([
    pa.field("latents", pa.binary(), nullable=False),
    pa.field("shape", pa.list_(pa.int32()), nullable=False),
    pa.field("sigmas", pa.list_(pa.float32()), nullable=False),
    pa.field("log_probs", pa.list_(pa.float32()), nullable=False),
    pa.field("eta", pa.float64(), nullable=False),
])  # fmt: skip


def path(steps: int = 3, tokens: int = 4, channels: int = 2, seed: int = 0) -> FlowPath:
    rng = np.random.default_rng(seed)
    sigmas = np.linspace(1, 0.25, steps + 1)
    return FlowPath(rng.normal(size=(steps + 1, tokens, channels)), sigmas, rng.normal(size=steps), 0.7)


def test_all_steps_but_the_last_are_stochastic_by_default():
    assert FlowSde(eta=0.7, steps=8).stochastic_steps == (0, 7)
    assert FlowSde(eta=0.7, steps=8, window=(2, 4)).stochastic_steps == (2, 4)


@pytest.mark.parametrize(
    ("chosen", "named"),
    [
        ({"eta": 0.0, "steps": 8}, "eta is 0.0"),
        ({"eta": float("nan"), "steps": 8}, "eta is nan"),
        ({"eta": 1.1, "steps": 8, "sampler": "cps"}, "with the sampler cps it must be at most 1"),
        ({"eta": 0.7, "steps": 1}, "steps is 1"),
        ({"eta": 0.7, "steps": 8, "window": (0, 8)}, "0 <= start < stop <= 7"),
        ({"eta": 0.7, "steps": 8, "window": (3, 3)}, r"window is \(3, 3\)"),
        ({"eta": 0.7, "steps": 8, "window": (-1, 3)}, r"window is \(-1, 3\)"),
    ],
)
def test_impossible_settings_are_refused_by_name(chosen, named):
    with pytest.raises(ValueError, match=named):
        FlowSde(**chosen)


@given(st.integers(1, 6), st.integers(1, 5), st.integers(1, 5), st.integers(0, 2**16))
@settings(deadline=None)
def test_a_path_survives_arrow_to_the_bit(steps, tokens, channels, seed):
    before = path(steps, tokens, channels, seed)
    record = pa.Table.from_pylist([before.to_record()]).to_pylist()[0]
    after = FlowPath.from_record(record)
    for name in ("latents", "sigmas", "log_probs"):
        assert getattr(after, name).dtype == np.float32
        assert getattr(after, name).tobytes() == getattr(before, name).tobytes()
    assert after.eta == before.eta
    assert len(after) == steps


@given(st.lists(st.tuples(st.integers(0, 1), st.sampled_from(["move a", "move b"])), min_size=1, max_size=8))
def test_shared_noise_is_that_of_one_image_and_one_prompt_and_nothing_else(asked):
    pictures = [np.full((2, 2, 3), value, np.uint8) for value in (0, 1)]
    images, prompts = [pictures[which] for which, _ in asked], [prompt for _, prompt in asked]
    seeds = list(range(len(asked)))
    shared = FlowSde(0.7, 4, shared_noise=True).first_seeds(images, prompts, seeds)
    assert len(set(shared)) == len(set(asked)) == len(set(zip(asked, shared, strict=True)))
    assert all(0 <= seed < 2**32 for seed in shared)
    for own in (FlowSde(0.7, 4), FlowOde(4)):
        assert own.first_seeds(images, prompts, seeds) == seeds


def test_a_clean_latent_survives_arrow_with_all_noise_levels_that_led_to_it():
    clean = FlowPath(np.ones((1, 4, 2)), np.array([1.0, 0.6, 0.0]), np.zeros(0), 0.0)
    (after,) = from_array(to_array([clean], KIND))
    assert after.is_clean
    assert after.latents.tobytes() == clean.latents.tobytes()
    assert after.sigmas.tolist() == clean.sigmas.tolist()
    assert not path().is_clean
    assert not FlowPath(np.ones((1, 4, 2)), np.ones(1), np.zeros(0), 0.7).is_clean


@given(st.lists(st.none() | st.integers(1, 4), max_size=6), st.integers(0, 6))
@settings(deadline=None)
def test_paths_are_a_column_as_arrow_makes_it_and_parts_of_it_are_theirs(steps, start):
    before = [None if count is None else path(count, seed=seed) for seed, count in enumerate(steps)]
    column = to_array(before, KIND)
    column.validate(full=True)
    assert column.to_pylist() == pa.array([it and it.to_record() for it in before], KIND).to_pylist()
    after = from_array(column[start:])
    assert [it and it.to_record() for it in after] == [it and it.to_record() for it in before[start:]]
    again = to_array(after, KIND)
    assert again.equals(column[start:])
    if any(after):
        assert again.field("latents").buffers()[2].address == next(it for it in after if it).latents.ctypes.data


def test_a_cut_record_is_refused():
    record = path().to_record()
    with pytest.raises(ValueError, match=r"latents has 124 bytes; shape \(4, 4, 2\) needs 128"):
        FlowPath.from_record({**record, "latents": record["latents"][:-4]})


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="2 log_probs needs latents"):
        FlowPath(np.zeros((2, 4, 2)), np.zeros(3), np.zeros(2), 0.7)
