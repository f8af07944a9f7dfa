"""Updates on the forward process by the same learner: DeepSpeed in a Ray actor."""

from dataclasses import replace

import pytest

from actors.flow_path import FlowOde
from actors.flux_model import FluxModel
from learner.config import EditorLearnerConfig
from learner.policy import new_policy
from learner.ranks import Learner
from learner.samples import EditorSample
from tests.learner.conftest import EDITS, random_image
from tests.learner.plain_update import RATE, PlainUpdates, assert_same_step
from tests.local_cluster import shared_ray

pytestmark = pytest.mark.engines
ONE_STEP = EditorLearnerConfig(algorithm="nft", learning_rate=RATE, micro_batch=3)


@pytest.fixture(scope="module", autouse=True)
def cluster():
    with shared_ray():
        yield


@pytest.fixture(scope="module")
def samples(flux_folder) -> list[EditorSample]:
    images, prompts = [random_image(index) for index in range(5)], [EDITS[index % 2] for index in range(5)]
    edits = FluxModel(flux_folder).edit(images, prompts, list(range(5)), FlowOde(3))
    return [
        EditorSample(image, prompt, edit.path, float(index - 2), seed=index)
        for index, (image, prompt, edit) in enumerate(zip(images, prompts, edits, strict=True))
    ]


def test_one_step_in_parts_equals_plain_torch(flux_folder, samples):
    with Learner("editor", flux_folder, ONE_STEP) as learner:
        learner.add(samples[:3])
        stats = learner.update(samples[3:])
        assert (stats.terms, stats.optimizer_steps, stats.ratio_mean, stats.clip_fraction) == (15, 1, 1.0, 0.0)
        assert (stats.logprob_mismatch_max, stats.drift, stats.entropy) == (0.0, None, None)
        assert_same_step(learner, stats, PlainUpdates(new_policy("editor", flux_folder, ONE_STEP, {})).update(samples))


def test_several_steps_keep_the_velocity_of_the_weights_before_them(flux_folder, samples):
    several = ONE_STEP.model_copy(update={"epochs": 3, "minibatches": 2})
    with Learner("editor", flux_folder, several) as learner:
        first = learner.update(samples)
        assert first.optimizer_steps == 6
        assert first.tensors_changed > 0.9 * first.tensors
        # good edits alone: what is learnt from them is that they come closer
        good = [replace(sample, advantage=5.0) for sample in samples]
        losses = [learner.update(good).loss for _ in range(3)]
        assert losses[-1] < losses[0]
