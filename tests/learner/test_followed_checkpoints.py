"""What a service reads from a run's checkpoints is what the learner would have sent."""

import json

import pytest

from learner.ranks import Learner
from presets.run_file import load_config
from studio.episodes.follow import RunFollower
from tests.adapted import EDITOR_LORA, VLM_LORA
from tests.places import PRESET
from weights.manifest import WeightMismatch, unpack

pytestmark = [pytest.mark.engines, pytest.mark.usefixtures("cluster")]

TWO_RANKS = {"ranks": 2, "cpus_per_rank": 0.5, "micro_batch": 2}


@pytest.mark.parametrize(
    ("policy", "settings"),
    [
        ("actor", {}),
        ("actor", {"zero_stage": 3, "lora": VLM_LORA.model_dump(mode="json"), "kl_coefficient": 0.1, **TWO_RANKS}),
        ("editor", {"zero_stage": 2, "lora": EDITOR_LORA.model_dump(mode="json"), "ema": 0.5, **TWO_RANKS}),
    ],
)
def test_a_checkpoint_holds_what_the_learner_would_send(
    policy, settings, vlm_folder, flux_folder, actor_samples, editor_samples, tmp_path
):
    overrides = [f"models.actor={vlm_folder}", f"models.flux={flux_folder}", f"learner.{policy}={json.dumps(settings)}"]
    config = load_config(PRESET, overrides)
    model, samples = (vlm_folder, actor_samples) if policy == "actor" else (flux_folder, editor_samples)
    checkpoint = tmp_path / "run" / "checkpoints" / "00001"
    with Learner(policy, model, getattr(config.learner, policy)) as learner:
        learner.update(samples)
        learner.save(checkpoint / "policies" / policy)
        sent = learner.weights(1, averaged=True)
        assert (sent.manifest.digest == learner.weights(1).manifest.digest) == ("ema" not in settings)
        tensors = dict(unpack(sent))
    follower = RunFollower(tmp_path / "run", config)
    assert follower.versions(checkpoint) == {policy: 1}
    found = follower.update(checkpoint, policy)
    assert found.manifest == sent.manifest
    assert all(tensor.equal(tensors[name]) for name, tensor in unpack(found))

    state = checkpoint / "policies" / policy / "state.json"
    state.write_text(json.dumps({**json.loads(state.read_text()), "digest": "0" * 32}))
    with pytest.raises(WeightMismatch, match="the learner saved 0000"):
        follower.update(checkpoint, policy)
