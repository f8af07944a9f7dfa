"""What the driver's side refuses before anything is sent."""

import pickle
from types import SimpleNamespace

import pytest

from weights.transports.exchange import Address
from weights.transports.transport import TransportUnusable
from weights.transports.vllm_transfer import Sender, VllmTransfer


class Vlm:
    """Replicas at these addresses, which note what they are told."""

    def __init__(self, *addresses):
        self.settings = SimpleNamespace(call_deadline_s=1.0, start_deadline_s=1.0)
        self.told = []
        self._addresses = list(addresses)

    def addresses(self):
        return self._addresses

    def transfer(self, step, arguments):
        self.told.append((step, arguments))


def test_memory_is_not_shared_between_nodes():
    vlm = Vlm(Address("r0", "node-a", ("GPU-1",)), Address("r1", "node-b", ("GPU-2",)))
    refused = r"sync.actor: 'ipc' is refused: .* 2 \(r0 on node-a, r1 on node-b\); set sync.actor=nccl"
    with pytest.raises(TransportUnusable, match=refused):
        VllmTransfer(vlm, "ipc", 0.1).start()
    with pytest.raises(TransportUnusable, match=refused):
        VllmTransfer(vlm, "ipc", 0.1).deliver(None)
    ((step, reasons),) = vlm.told
    assert (step, sorted(reasons)) == ("abandon", ["r0", "r1"])


def test_memory_of_one_gpu_is_shared():
    vlm = Vlm(Address("r0", "node-a", ("GPU-1", "GPU-2")))
    with pytest.raises(TransportUnusable, match=r"'ipc' is refused: r0 has 2 GPUs, .* set vlm.actor.gpus=1"):
        VllmTransfer(vlm, "ipc", 0.1).start()


@pytest.mark.parametrize("name", ["nccl", "ipc"])
def test_a_sender_without_a_gpu_says_so(name):
    with pytest.raises(TransportUnusable, match=f"sync.actor: '{name}' is refused: its sender sees no GPU"):
        Sender(name, Vlm()).ready([Address("r0", "node-a", ("GPU-1",))])


def test_a_gpu_that_the_sender_does_not_see_is_named(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda k: SimpleNamespace(uuid=f"GPU-{k}"))
    sender = Sender("ipc", Vlm())
    sender.ready([Address("r0", "node-a", ("GPU-1",))])
    with pytest.raises(TransportUnusable, match=r"does not see GPU GPU-5 of r1, only \['GPU-0', 'GPU-1'\]"):
        sender.ready([Address("r0", "node-a", ("GPU-1",)), Address("r1", "node-a", ("GPU-5",))])


def test_it_can_be_sent_to_other_processes():
    assert pickle.loads(pickle.dumps(VllmTransfer(Vlm(), "nccl", 0.1)))._name == "nccl"
