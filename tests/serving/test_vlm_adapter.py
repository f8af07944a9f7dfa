"""An Actor replica on vLLM that takes adapters: from the board when it starts, and while it serves."""

import peft
import pytest
import torch
from safetensors.torch import load_file

from learner.checksums import tensors_digest
from learner.learner_config import LearnerConfig, LoraConfig
from learner.receipts import verify_receipts
from learner.vlm_policy import VlmPolicy
from learner.weights import WeightMismatch, pack
from serving.vlm_actor import Actor
from tests.serving.conftest import Reference

pytestmark = pytest.mark.engines
REQUEST = "goal : red circle left of blue square . unmet : red circle left of blue square . fix ?"
# One of three projections that vLLM keeps as one, one of two of its feed-forward layer, one of the vision encoder.
LORA = LoraConfig(rank=2, alpha=4.0, target_modules=r"model\.text_model\..*\.(k_proj|up_proj)|lm_head|.*\.fc1")


class Trained:
    """A learner's side: adapters, and transformers with each of them."""

    def __init__(self, folder):
        self.folder, self.policy = folder, VlmPolicy(folder, LearnerConfig(lora=LORA))

    @torch.no_grad()
    def update(self, version):
        generator = torch.Generator().manual_seed(version)
        for tensor in self.policy.weights.tensors().values():
            tensor.copy_(0.3 * torch.randn(tensor.shape, generator=generator))
        return pack("actor", version, self.policy.weights.tensors(), adapter=self.policy.weights.spec())

    def reference(self, out) -> Reference:
        """Transformers with the adapter, added by peft."""
        self.policy.export(out)
        reference = Reference(self.folder)
        reference.model = peft.PeftModel.from_pretrained(reference.model, out / "lora").merge_and_unload().eval()
        return reference


@pytest.fixture(scope="module")
def trained(folders):
    torch.set_num_threads(1)
    return Trained(folders["actor"])


@pytest.fixture(scope="module")
def served(trained):
    """The client of a VLM that started after an adapter had been published, and that adapter's update."""
    import ray

    from learner.weight_board import WeightBoard
    from serving.vlm_config import VlmConfig
    from serving.vlm_deployment import deploy_vlms, stop_vlms, wait_for_vlms

    ray.init(address="local", num_cpus=2, include_dashboard=False, object_store_memory=200 << 20, log_to_driver=False)
    try:
        board, first = WeightBoard(60.0), trained.update(3)
        board.publish(first)
        vlms = {"actor": VlmConfig(model=str(trained.folder), max_tokens=16)}
        yield wait_for_vlms(deploy_vlms(vlms, board.name), vlms)["actor"], first
        stop_vlms(["actor"])
    finally:
        ray.shutdown()


def answers(client, images):
    return Actor(client).reflect(images, [REQUEST] * len(images), n=4, temperature=1.0, seeds=range(len(images)))


def assert_answers_as(reference, client, images, version):
    for image, row in zip(images, answers(client, images), strict=True):
        for answer in row:
            assert answer.version == version
            reference.assert_log_probs(image, REQUEST, answer)


def test_a_replica_adds_adapters_to_the_folders_weights_and_proves_it(served, trained, images, tmp_path):
    client, first = served
    assert set(client.versions().values()) == {3}
    with_first = trained.reference(tmp_path / "first")
    assert_answers_as(with_first, client, images, 3)

    second = trained.update(4)
    with_second = trained.reference(tmp_path / "second")
    full = sum(tensor.numel() * 4 for tensor in load_file(trained.folder / "model.safetensors").values())
    assert second.nbytes < full / 10
    (receipt,) = client.apply_weights(second)
    verify_receipts(second.manifest, [receipt], client.versions())
    assert (receipt.version, receipt.previous_version) == (4, 3)
    assert (receipt.digest, receipt.previous_digest) == (second.manifest.digest, first.manifest.digest)
    assert receipt.base == trained.policy.weights.spec().base
    # What the engine loaded is what peft computes: every changed matrix, and what vLLM keeps in one parameter with it.
    for digest, reference in ((receipt.previous_merged, with_first), (receipt.merged, with_second)):
        state = reference.model.state_dict()
        blocks = {target.weight.rpartition(".")[0].rpartition(".")[0] for target in second.manifest.adapter.targets}
        loaded = {name: state[name] for name in state if name.rpartition(".")[0].rpartition(".")[0] in blocks}
        assert digest == tensors_digest(loaded)
    assert receipt.probe != receipt.previous_probe
    assert_answers_as(with_second, client, images, 4)


def test_an_adapter_of_other_weights_is_refused_and_the_old_one_stays(served, trained, folders, images):
    client, _ = served
    before = answers(client, images[:1])
    with pytest.raises(WeightMismatch, match="the same model folder"):
        client.apply_weights(Trained(folders["other"]).update(9))
    client.check_health()
    after = answers(client, images[:1])
    assert [a.log_probs for a in after[0]] == [a.log_probs for a in before[0]]


def test_after_all_weights_an_adapter_is_refused_because_it_belongs_to_the_folders(served, trained, folders, images):
    client, _ = served
    full = pack("actor", 10, load_file(folders["other"] / "model.safetensors"))
    (receipt,) = client.apply_weights(full)
    verify_receipts(full.manifest, [receipt])
    assert (receipt.base, receipt.merged) == (None, None)
    with pytest.raises(WeightMismatch, match="was given all weights of version 10; start it again"):
        client.apply_weights(trained.update(11))
    assert_answers_as(Reference(folders["other"]), client, images, 10)
