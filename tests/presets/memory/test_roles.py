"""Memory of each role, by hand for the small models, and for the models of the presets by their published sizes."""

from __future__ import annotations

import inspect

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learner.config import LearnerConfig
from presets.memory import image_models
from presets.memory.image_models import image_worker
from presets.memory.learners import learner_rank, model_states
from presets.memory.model_size import ModelSize, folder_size
from presets.memory.sizes import Adapter, Sizes
from presets.memory.vlms import vlm_replica
from presets.run_config import RunConfig
from presets.run_file import load_config
from tests.places import PRESET, ROOT

MODELS = PRESET.parent / "models"
TRANSFORMER = folder_size(MODELS / "flux" / "transformer").parameters
PIPELINE = sum(folder_size(MODELS / "flux" / part).parameters for part in ("vae", "text_encoder", "text_encoder_2"))
ACTOR = folder_size(MODELS / "actor").parameters
MILLION, GIB = 1_000_000, 2**30
SIZES = Sizes(ask_hub=False)  # looked up once for all tests
DATA = f"data.path={ROOT / 'tests' / 'data' / 'laion_sg_example.json'}"


def preset(name: str, *changes: str) -> RunConfig:
    return load_config(ROOT / "presets" / f"{name}.yaml", [DATA, *changes])


def states(trained: int, frozen: int, stage: int, ranks: int, **more) -> tuple[float, float, float]:
    """Weights, gradients and optimizer of a rank whose adapter has `trained` elements, or of a whole model."""
    dtype = more.pop("dtype", "float32" if ranks > 1 or stage == 0 else "bfloat16")
    learner = LearnerConfig.model_construct(zero_stage=stage, ranks=ranks, dtype=dtype, **more)
    whole = ModelSize(frozen or trained, 0, {}, {})
    terms = model_states(learner, whole, Adapter(trained, False) if frozen else None)
    weights, gradients, optimizer = (term.nbytes for term in terms)
    return weights, gradients, optimizer


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
    assert states(MILLION, 0, stage, ranks) == (weights * MILLION, gradients * MILLION, optimizer * MILLION)


def test_large_models_meet_the_limits_of_bucket_and_gathering():
    weights, gradients, _ = states(12_000 * MILLION, 0, 3, 8)
    assert weights == 4 * (1_500 + 1_000) * MILLION
    assert gradients == 4 * (3_000 + 500) * MILLION
    assert states(MILLION, 0, 2, 2, gpus_per_rank=1)[1] == 4 * (1 + 500) * MILLION


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_an_adapter_alone_has_gradients_and_optimizer_state(stage):
    adapter, whole = (states(MILLION, frozen, stage, 2) for frozen in (99 * MILLION, 0))
    assert adapter[1:] == whole[1:]
    assert adapter[0] == (4 * 100 * MILLION if stage < 3 else 4 * 150 * MILLION)


def test_the_starting_model_is_copied_where_all_weights_train_and_split_with_stage_3():
    assert states(MILLION, 0, 2, 2, kl_coefficient=0.1)[0] == 4 * 2 * MILLION
    assert states(MILLION, 0, 3, 2, kl_coefficient=0.1)[0] == 4 * (1 + 1) * MILLION
    assert states(MILLION, 99 * MILLION, 2, 2, kl_coefficient=0.1)[0] == 4 * 100 * MILLION


def test_bfloat16_halves_weights_and_what_is_sent_and_leaves_the_optimizer_its_floats():
    exact, half = (states(MILLION, 0, 2, 4, dtype=dtype) for dtype in ("float32", "bfloat16"))
    assert half[0] == exact[0] / 2
    assert half[2] == exact[2] == 3 * MILLION
    assert half[1] == (4 + 4) * MILLION / 4 + 2 * MILLION  # added up in float32, sent in bfloat16


def test_the_tiny_preset():
    config = load_config(PRESET)
    editor, actor = learner_rank(config, "editor", SIZES), learner_rank(config, "actor", SIZES)
    assert not editor.unknown
    assert not actor.unknown
    parts = editor.parts()
    assert parts["weights"] == 4 * (TRANSFORMER + PIPELINE)
    assert parts["gradients"] == 8 * TRANSFORMER  # and those that the two ranks reduce
    assert parts["optimizer"] == 8 * TRANSFORMER
    assert parts["activations"] == 56 * 2 * 16 * (64 + 64 + 32) * 128 * 6
    parts = actor.parts()
    assert (parts["weights"], parts["gradients"], parts["optimizer"]) == (4 * ACTOR, 4 * ACTOR, 8 * ACTOR)
    for role in ("diffuser", "editor"):
        parts = image_worker(config, role, SIZES).parts()
        assert parts["weights"] == 4 * (TRANSFORMER + PIPELINE)
        assert (parts["gradients"], parts["optimizer"]) == (0, 0)
    parts = vlm_replica(config.vlm.actor, SIZES).parts()
    assert (parts["weights"], parts["kv_cache"]) == (4 * ACTOR, 2**27)


def test_a_learner_with_an_adapter_counts_the_adapter_alone():
    lora = "learner.editor.lora={rank: 4, target_modules: [to_q]}"
    config = load_config(PRESET, [lora, "learner.editor.zero_stage=2"])
    adapter = 4 * 6 * (128 + 128)
    parts = learner_rank(config, "editor", SIZES).parts()
    assert parts["weights"] == 4 * (TRANSFORMER + PIPELINE + adapter)
    assert parts["optimizer"] == 12 * adapter / 2


def test_an_adapter_whose_size_is_not_known_leaves_gradients_open_and_says_so():
    estimate = learner_rank(load_config(PRESET, ["learner.actor.lora={target_modules: [nowhere]}"]), "actor", SIZES)
    assert estimate.parts()["weights"] == 4 * ACTOR
    assert (estimate.parts()["gradients"], estimate.parts()["optimizer"]) == (None, None)
    assert not estimate.complete
    assert estimate.unknown[0].startswith("gradients: learner.actor: lora.target_modules ('nowhere',)")


def test_vllm_splits_weights_over_gpus_and_takes_what_is_left_for_its_cache():
    config = load_config(PRESET, ["vlm.actor.gpus=2", "vlm.actor.dtype=bfloat16", "vlm.actor.kv_cache_gib=null"])
    estimate = vlm_replica(config.vlm.actor, SIZES)
    assert estimate.parts()["weights"] == 2 * ACTOR / 2
    assert estimate.unknown == ("kv cache: vLLM fills 92% of the GPU; kv_cache_gib sets it",)
    share = config.vlm.actor.model_copy(update={"engine": {"gpu_memory_utilization": 0.5}})
    assert vlm_replica(share, SIZES, gpu_gib=10.0).known == pytest.approx(5.0 * GIB)


def test_a_model_that_is_not_here_is_unknown_by_name():
    config = load_config(PRESET, ["models.flux=hf://nobody/has-this-one"])
    for estimate in (learner_rank(config, "editor", SIZES), image_worker(config, "diffuser", SIZES)):
        assert estimate.parts()["weights"] is None
        assert "hf://nobody/has-this-one is not on this machine, and the hub is not asked" in estimate.unknown[0]
        assert estimate.known == 0


def test_a_worker_of_kontexts_size_is_as_large_as_was_measured():
    """35.5 GiB on an H200, for a batch of eight at 512 pixels; the learner's 38.7 on one rank (docs/status.md)."""
    config = preset("cluster", "learner.editor.ranks=1", "learner.editor.zero_stage=2")
    assert image_worker(config, "editor", SIZES, batch=8).known / GIB == pytest.approx(35.5, rel=0.03)
    assert learner_rank(config, "editor", SIZES).known / GIB == pytest.approx(38.7, rel=0.03)


def test_the_arithmetic_is_shown_a_line_a_part():
    lines = image_worker(preset("cluster"), "diffuser", SIZES).lines
    assert lines[0] == (
        "weights: transformer, 11.9 G parameters × 2 B + text_encoder, 123 M parameters × 2 B + text_encoder_2, 4.76 G "
        "parameters × 2 B + vae, 83.8 M parameters × 2 B = 31.4 GiB"
    )
    assert lines[1] == (
        "activations: decoding, 4 × 16 × 512×512 pixels × 256 channels × 2 B (prompts 0.562 GiB, a step 1.7 GiB) = "
        "8.0 GiB"
    )
    (weights, _, cache) = vlm_replica(preset("qwen-image-edit").vlm.actor, SIZES).lines
    assert weights == "weights: 8.29 G parameters (vision 677 M) × 2 B = 15.4 GiB"
    assert cache == "kv cache: kv_cache_gib = 8.0 GiB"


def test_guidance_is_a_second_pass_for_the_editors_that_have_one():
    def trained(name: str, *changes: str) -> float:
        stays = ("learner.editor.gradient_checkpointing=false", "editor.text_offload=none")
        return learner_rank(preset(name, *stays, *changes), "editor", SIZES).of(("activations",))

    for guidance, passes in ((1.0, 1), (4.0, 2)):
        assert trained("qwen-image-edit", f"editor.guidance={guidance}") == pytest.approx(
            passes * trained("qwen-image-edit", "editor.guidance=1.0")
        )
        assert trained("cluster", f"editor.guidance={guidance}") == trained("cluster")


CHECKED = settings(max_examples=40, deadline=None)
LEARNER_CHANGES = st.fixed_dictionaries({
    "micro_batch": st.sampled_from([1, 2, 4, 8]),
    "ranks": st.sampled_from([2, 4, 8]),
    "zero_stage": st.sampled_from([2, 3]),
    "gradient_checkpointing": st.booleans(),
})  # fmt: skip


def rank(name: str, policy: str, size: int, values: dict) -> float:
    config = CONFIGS[name]
    learner = getattr(config.learner, policy).model_copy(update=values)
    changed = config.model_copy(update={
        "learner": config.learner.model_copy(update={policy: learner}),
        "diffuser": config.diffuser.model_copy(update={"image_size": size}),
    })  # fmt: skip
    return learner_rank(changed, policy, SIZES).known


CONFIGS = {name: preset(name, "editor.text_offload=none") for name in ("cluster", "qwen-image-edit")}


@CHECKED
@given(
    st.sampled_from(sorted(CONFIGS)), st.sampled_from(["actor", "editor"]), st.sampled_from([256, 512, 768]),
    LEARNER_CHANGES,
)  # fmt: skip
def test_a_learner_grows_with_batch_and_size_and_shrinks_with_ranks_and_checkpointing(name, policy, size, values):
    here = rank(name, policy, size, values)
    assert rank(name, policy, size, {**values, "micro_batch": 2 * values["micro_batch"]}) > here
    assert rank(name, policy, size, {**values, "ranks": 2 * values["ranks"]}) < here
    assert rank(name, policy, size, {**values, "gradient_checkpointing": True}) <= here
    larger = rank(name, policy, 2 * size, values)
    assert larger > here if policy == "editor" else larger == here


@CHECKED
@given(st.sampled_from(sorted(CONFIGS)), st.sampled_from(["diffuser", "editor"]), st.integers(1, 32),
       st.sampled_from([256, 512, 1024]))  # fmt: skip
def test_a_worker_grows_with_batch_and_size_and_an_editor_holds_more_than_a_diffuser(name, role, batch, size):
    def worker(batch: int, size: int) -> float:
        config = CONFIGS[name]
        diffuser = config.diffuser.model_copy(update={"image_size": size})
        return image_worker(config.model_copy(update={"diffuser": diffuser}), role, SIZES, batch=batch).known

    assert worker(batch, size) < worker(batch + 1, size)
    assert worker(batch, size) <= worker(batch, 2 * size)


def test_a_plan_takes_the_true_width_and_height():
    def activations(name: str, *changes: str) -> float:
        return image_worker(preset(name, *changes), "editor", SIZES).parts()["activations"]

    sides = ("diffuser.width=1024", "diffuser.height=256")
    assert activations("cluster", *sides) == activations("cluster", "diffuser.image_size=512")
    assert activations("cluster", "diffuser.width=768") == 1.5 * activations("cluster")  # decoding


def test_a_source_of_qwen_image_edit_keeps_the_pictures_ratio():
    def sample(*changes: str) -> image_models.Geometry:
        config = preset("qwen-image-edit", "editor.source_size=512", *changes)
        return image_models.geometry(config, config.editor, SIZES.model(config.models.edits_with))

    square, wide = sample(), sample("diffuser.width=768")
    assert (square.own, square.source) == (32 * 32, 32 * 32)
    assert (wide.own, wide.source) == (48 * 32, (640 // 16) * (416 // 16))  # of 627×418 pixels
    seen = wide.text - square.text
    assert seen == (480 // 28) * (320 // 28) - (384 // 28) ** 2


def test_sizes_are_those_of_the_code_that_runs():
    from actors.image_model import ImageModel
    from actors.model_families import FAMILIES

    assert inspect.signature(ImageModel).parameters["max_batch"].default == image_models.WORKER_BATCH
    sources = {name: family.model.sources_at for name, family in FAMILIES.items()}
    assert {name: size for name, size in sources.items() if size} == image_models.SOURCE_SIZE
    texts = {name: getattr(family.model, "text_size", None) for name, family in FAMILIES.items()}
    assert {name: size for name, size in texts.items() if size} == image_models.TEXT_SIZE


def test_text_encoders_that_leave_are_counted_only_while_they_encode():
    """Then the encoders' weights and one prompt's activations are held; else those of a step or of the decoding."""
    for role in ("diffuser", "editor"):
        stays, leaves = (
            image_worker(preset("eight-gpus", f"{role}.text_offload={place}"), role, SIZES) for place in ("none", "cpu")
        )
        text = sum(term.nbytes for term in stays.having("weights") if term.how.startswith("text_encoder"))
        assert text > 9e9
        assert stays.parts()["weights"] - leaves.parts()["weights"] == text
        assert leaves.parts()["activations"] >= text
        assert stays.known - 0.9 * text < leaves.known < stays.known - 4 * GIB
        assert leaves.having("activations")[0].how.startswith("prompts, text encoders that come, (")
    assert "1 × 512 tokens" in leaves.having("activations")[0].how
    assert "16 × 512 tokens" in stays.having("activations")[0].how or "a step" in stays.having("activations")[0].how


def test_a_learner_of_an_editor_whose_text_encoders_leave_has_their_memory_for_its_forward_pass():
    stays, leaves = (
        learner_rank(preset("eight-gpus", f"editor.text_offload={place}"), "editor", SIZES) for place in ("none", "cpu")
    )
    text = sum(term.nbytes for term in stays.having("weights") if term.how.startswith("text_encoder"))
    assert stays.parts()["weights"] - leaves.parts()["weights"] == text
    assert leaves.known < stays.known
    assert leaves.parts()["optimizer"] == stays.parts()["optimizer"]
