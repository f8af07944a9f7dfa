"""An Actor replica on vLLM that takes adapters: from the board when it starts, and while it serves."""

import peft
import pytest
import torch
from safetensors.torch import load_file

from learner.config import LearnerConfig
from learner.vlm_policy import VlmPolicy
from scenes.dialogue import checker_question
from scenes.scene_graph import Requirement
from serving.actor import Actor
from serving.checker import Checker
from serving.config import VlmConfig
from serving.deployment import checker_of
from tests.local_cluster import local_ray
from tests.serving.conftest import Reference
from tests.serving.local.alike import assert_check_alike, assert_reflect_alike, local
from weights.checksums import tensors_digest
from weights.lora_config import LoraConfig
from weights.manifest import WeightMismatch, pack
from weights.receipts import verify_receipts

pytestmark = pytest.mark.engines
REQUEST = "goal : red circle left of blue square . unmet : red circle left of blue square . fix ?"
SYSTEM = "is it above ?"
# One of three projections that vLLM keeps as one, one of two of its feed-forward layer, one of the vision encoder.
LORA = LoraConfig(rank=2, alpha=4.0, target_modules=r"model\.text_model\..*\.(k_proj|up_proj)|lm_head|.*\.fc1")


TEXT_LORA = LoraConfig(rank=2, alpha=3.0, target_modules=r"model\.text_model\..*_proj")  # what vLLM can hold beside


class Trained:
    """A learner's side: adapters, and transformers with each of them."""

    def __init__(self, folder, lora=LORA, role="actor"):
        self.folder, self.role, self.policy = folder, role, VlmPolicy(folder, LearnerConfig(lora=lora))

    @torch.no_grad()
    def update(self, version):
        generator = torch.Generator().manual_seed(version)
        for tensor in self.policy.weights.tensors().values():
            tensor.copy_(0.3 * torch.randn(tensor.shape, generator=generator))
        return pack(self.role, version, self.policy.weights.tensors(), adapter=self.policy.weights.spec())

    def reference(self, out) -> Reference:
        """Transformers with the adapter, added by peft."""
        self.policy.export(out)
        reference = Reference(self.folder, SYSTEM)
        reference.model = peft.PeftModel.from_pretrained(reference.model, out / "lora").merge_and_unload().eval()
        return reference


@pytest.fixture(scope="module")
def trained(folders):
    torch.set_num_threads(1)
    return Trained(folders["actor"])


@pytest.fixture(scope="module")
def trained_beside(folders):
    torch.set_num_threads(1)
    return Trained(folders["actor"], TEXT_LORA, "beside")


@pytest.fixture(scope="module")
def clients(trained, trained_beside):
    """Clients of two VLMs that started after an adapter for each had been published, with these adapters' updates: the
    "actor" adds them to its weights, the one "beside" does not."""
    from serving.deployment import deploy_vlms, stop_vlms, wait_for_vlms
    from weights.board import WeightBoard

    with local_ray(2):
        board, first = WeightBoard(60.0), {each.role: each.update(3) for each in (trained, trained_beside)}
        for update in first.values():
            board.publish(update)
        settings = VlmConfig(model=str(trained.folder), max_tokens=16, system_prompt=SYSTEM)
        vlms = {"actor": settings, "beside": settings.model_copy(update={"adapter_rank": 2})}
        deploy_vlms(vlms, board.name)
        found = wait_for_vlms(vlms)
        yield {role: (found[role], first[role]) for role in vlms}
        stop_vlms(list(vlms))


@pytest.fixture(scope="module")
def served(clients):
    return clients["actor"]


@pytest.fixture(scope="module")
def served_beside(clients):
    return clients["beside"]


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
    assert receipt.surviving == pytest.approx(1, abs=1e-5)  # in float32
    assert receipt.probe != receipt.previous_probe
    assert_answers_as(with_second, client, images, 4)


def test_a_replica_holds_adapters_beside_its_weights_and_proves_it(served_beside, trained_beside, images, tmp_path):
    client, first = served_beside
    assert set(client.versions().values()) == {3}
    assert_answers_as(trained_beside.reference(tmp_path / "first"), client, images, 3)

    second = trained_beside.update(4)
    (receipt,) = client.apply_weights(second)
    verify_receipts(second.manifest, [receipt], client.versions())
    assert (receipt.version, receipt.previous_version) == (4, 3)
    assert (receipt.digest, receipt.previous_digest) == (second.manifest.digest, first.manifest.digest)
    assert receipt.checksums == second.manifest.checksums  # as the layers of the engine hold it
    assert receipt.base == trained_beside.policy.weights.spec().base
    assert (receipt.merged, receipt.surviving) == (None, None)
    assert receipt.probe != receipt.previous_probe
    assert_answers_as(trained_beside.reference(tmp_path / "second"), client, images, 4)


def test_a_model_in_this_process_answers_like_vllm_with_an_adapter_and_without(served_beside, trained_beside, images):
    client, _ = served_beside
    (version,) = client.versions().values()
    ours = local(client, trained_beside.update(version))
    assert_reflect_alike(client, ours, images, REQUEST)
    base = VlmConfig(model=str(trained_beside.folder))
    assert_check_alike(client.shared("checker", base), ours.shared("checker", base), images)


def test_without_its_adapter_a_replica_is_the_checker(served_beside, trained_beside, images):
    client, _ = served_beside
    settings = VlmConfig(model=str(trained_beside.folder))
    assert checker_of({"actor": client, "checker": "its own"}, settings) == "its own"
    requirement = Requirement("red circle", "left of", "blue square")
    checker = Checker(checker_of({"actor": client}, settings), least_mass=0.0)
    base = Reference(trained_beside.folder)  # no adapter, and not the Actor's system prompt
    yes, no = base.processor.tokenizer.convert_tokens_to_ids(["yes", "no"])
    for image, (found,) in zip(images, checker.satisfaction(images, [(requirement,)] * len(images)), strict=True):
        log_probs = base.log_probs(image, checker_question(requirement), [yes])[0]
        assert found == pytest.approx((log_probs[yes] - log_probs[no]).sigmoid().item(), abs=1e-3)


def test_a_chat_request_that_would_leave_the_adapter_out_is_refused(served_beside):
    from ray.serve.llm.openai_api_models import ChatCompletionRequest

    client, _ = served_beside
    asked = ChatCompletionRequest(model="beside", messages=[{"role": "user", "content": "fix ?"}], max_tokens=4)
    with pytest.raises(Exception, match="holds an adapter that OpenAI requests leave out"):
        next(iter(client._handle.options(stream=True).chat.remote(asked)))


def test_an_adapter_of_layers_that_vllm_cannot_adapt_is_refused_by_name(served_beside, folders, images):
    client, _ = served_beside
    before = answers(client, images[:1])
    with pytest.raises(
        WeightMismatch, match=r"beside 5 of 13 layers: model\.vision_model.*fc1.*vlm.actor.adapter=merged"
    ):
        client.apply_weights(Trained(folders["actor"], LORA, "beside").update(9))
    client.check_health()
    assert [a.log_probs for a in answers(client, images[:1])[0]] == [a.log_probs for a in before[0]]


def test_all_weights_are_refused_where_an_adapter_lies_beside(served_beside, folders):
    client, _ = served_beside
    full = pack("beside", 10, load_file(folders["other"] / "model.safetensors"))
    with pytest.raises(WeightMismatch, match="these are all weights, and the replica holds an adapter beside"):
        client.apply_weights(full)
    client.check_health()


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
    assert_answers_as(Reference(folders["other"], SYSTEM), client, images, 10)
