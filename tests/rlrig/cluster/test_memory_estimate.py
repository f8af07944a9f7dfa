import inspect

import pytest

from presets.run_file import load_config
from rlrig.cluster import memory_estimate
from rlrig.cluster.memory_estimate import (
    learner_rank,
    model_states,
    pipeline_replica,
    training_activations,
    vlm_replica,
)
from rlrig.cluster.model_size import model_size
from tests.places import PRESET

MODELS = PRESET.parent / "models"
TRANSFORMER = model_size(MODELS / "flux" / "transformer").parameters
PIPELINE = sum(model_size(MODELS / "flux" / part).parameters for part in ("vae", "text_encoder", "text_encoder_2"))
ACTOR = model_size(MODELS / "actor").parameters
MILLION = 1_000_000


@pytest.mark.parametrize(
    ("stage", "ranks", "weights", "gradients", "optimizer"),
    [
        (0, 1, 4, 4, 8),
        (0, 4, 4, 4 + 4, 8),
        (1, 4, 4, 4 + 4, 3),
        (2, 4, 4, 2 + 4, 3),
        (3, 4, 1 + 4, 2 + 4, 3),
    ],
)
def test_bytes_of_a_trained_parameter_by_zero_stage(stage, ranks, weights, gradients, optimizer):
    """The bucket holds all gradients of so small a model, and stage 3 gathers all of it at once."""
    memory = model_states(MILLION, 0, 0, 0, stage, ranks)
    assert (memory.weights, memory.gradients, memory.optimizer) == (
        weights * MILLION,
        gradients * MILLION,
        optimizer * MILLION,
    )


def test_large_models_meet_the_limits_of_bucket_and_gathering():
    memory = model_states(12_000 * MILLION, 0, 0, 0, 3, 8)
    assert memory.weights == 4 * (1_500 + 1_000) * MILLION
    assert memory.gradients == 4 * (3_000 + 500) * MILLION
    assert model_states(MILLION, 0, 0, 0, 2, 2, on_gpu=True).gradients == 4 * (1 + 500) * MILLION


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_an_adapter_alone_has_gradients_and_optimizer_state(stage):
    adapter, whole = (model_states(MILLION, frozen, 0, 0, stage, 2) for frozen in (99 * MILLION, 0))
    assert (adapter.gradients, adapter.optimizer) == (whole.gradients, whole.optimizer)
    assert adapter.weights == (4 * 100 * MILLION if stage < 3 else 4 * 150 * MILLION)


def test_parts_beside_the_model_are_whole_on_each_rank_and_the_reference_is_split_with_stage_3():
    assert model_states(0, 0, 10, 8, 3, 2).weights == 4 * (10 + 4)
    assert model_states(0, 0, 10, 8, 2, 2).weights == 4 * (10 + 8)


def test_activations_are_68_bytes_for_a_token_a_channel_and_a_layer():
    assert training_activations(10, 4, 3) == 68 * 10 * 4 * 3


def test_the_tiny_preset():
    config = load_config(PRESET)
    editor, actor = learner_rank(config, "editor"), learner_rank(config, "actor")
    assert not editor.unknown
    assert not actor.unknown
    assert editor.memory.weights == 4 * (TRANSFORMER + PIPELINE)
    assert editor.memory.gradients == 8 * TRANSFORMER  # and those that the two ranks reduce
    assert actor.memory.gradients == 4 * ACTOR
    assert editor.memory.optimizer == 8 * TRANSFORMER
    assert editor.memory.activations == training_activations(16 * (64 + 64 + 32), 128, 6)
    assert (actor.memory.weights, actor.memory.optimizer) == (4 * ACTOR, 8 * ACTOR)
    diffuser = pipeline_replica(config, config.diffuser, config.models.flux)
    assert diffuser.memory.weights == 4 * (TRANSFORMER + PIPELINE)
    assert (diffuser.memory.gradients, diffuser.memory.optimizer) == (0, 0)
    vlm = vlm_replica(config.vlm.actor)
    assert (vlm.memory.weights, vlm.memory.kv_cache) == (4 * ACTOR, 2**27)


def test_a_learner_with_an_adapter_counts_the_adapter_alone():
    lora = "learner.editor.lora={rank: 4, target_modules: [to_q]}"
    config = load_config(PRESET, [lora, "learner.editor.zero_stage=2"])
    adapter = 4 * 6 * (128 + 128)
    memory = learner_rank(config, "editor").memory
    assert memory.weights == 4 * (TRANSFORMER + PIPELINE + adapter)
    assert memory.optimizer == 12 * adapter / 2


def test_an_adapter_whose_size_is_not_known_leaves_gradients_open_and_says_so():
    config = load_config(PRESET, ["learner.actor.lora={target_modules: [nowhere]}"])
    estimate = learner_rank(config, "actor")
    assert estimate.memory.weights == 4 * ACTOR
    assert (estimate.memory.gradients, estimate.memory.optimizer) == (None, None)
    assert not estimate.memory.complete
    assert estimate.unknown == (
        "gradients, optimizer: learner.actor.lora.target_modules 'nowhere' stands for no matrix that is named in the "
        "model folder",
    )


def test_vllm_splits_weights_over_gpus_and_takes_what_is_left_for_its_cache():
    config = load_config(PRESET, ["vlm.actor.gpus=2", "vlm.actor.dtype=bfloat16", "vlm.actor.kv_cache_gib=null"])
    estimate = vlm_replica(config.vlm.actor)
    assert estimate.memory.weights == 2 * ACTOR / 2
    assert estimate.memory.kv_cache is None
    assert "gpu_memory_utilization" in estimate.unknown[0]


def test_a_model_that_is_not_here_is_unknown_by_name():
    config = load_config(PRESET, ["models.flux=hf://nobody/has-this-one"])
    for estimate in (learner_rank(config, "editor"), pipeline_replica(config, config.diffuser, config.models.flux)):
        assert estimate.memory.weights is None
        assert "hf://nobody/has-this-one is not on this machine" in estimate.unknown[0]
        assert estimate.memory.known == 0


def test_bfloat16_halves_weights_and_what_is_sent_and_leaves_the_optimizer_its_floats():
    exact, half = (model_states(MILLION, 0, 0, 0, 2, 4, width=width) for width in (4, 2))
    assert half.weights == exact.weights / 2
    assert half.optimizer == exact.optimizer == 3 * MILLION
    assert half.gradients == (4 + 4) * MILLION / 4 + 2 * MILLION  # added up in float32, sent in bfloat16
    settings = ["editor.dtype=bfloat16", "learner.editor.dtype=bfloat16", "learner.editor.zero_stage=2"]
    config = load_config(PRESET, settings)
    assert pipeline_replica(config, config.editor, config.models.flux).memory.weights == 2 * (TRANSFORMER + PIPELINE)
    assert pipeline_replica(config, config.diffuser, config.models.flux).memory.weights == 4 * (TRANSFORMER + PIPELINE)
    assert learner_rank(config, "editor").memory.weights == 2 * (TRANSFORMER + PIPELINE)


def test_layers_that_are_computed_again_keep_their_inputs_only():
    assert training_activations(10, 4, 3, 2, again=True) == 34 * 10 * 4 + 10 * 4 * 3 * 2
    assert training_activations(10, 4, 30, again=True) < training_activations(10, 4, 30) / 10


def test_the_samples_of_a_call_are_those_of_the_pipeline():
    from actors.image_model import ImageModel

    parameters = inspect.signature(ImageModel).parameters
    assert parameters["max_batch"].default == memory_estimate.PIPELINE_BATCH
