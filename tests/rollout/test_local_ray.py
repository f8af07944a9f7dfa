import os
import socket

import pytest

from presets.errors import BadInput
from presets.run_file import load_config
from presets.settings import PortsConfig, RayConfig
from rollout.local_ray import only_ray_of_process, port_is_free, ray_for_run, worker_environment
from tests.places import PRESET


def test_a_taken_port_is_refused_with_key_value_and_remedy_before_ray_starts():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        assert not port_is_free(port)
        config = RayConfig(dashboard=True, ports=PortsConfig(dashboard=port))
        message = rf"ray\.ports\.dashboard: {port} is taken .*--set ray\.ports\.dashboard=N"
        with pytest.raises(BadInput, match=message), ray_for_run(config):
            raise AssertionError("Ray was started")
    assert port_is_free(port)


def test_an_object_store_that_is_larger_than_the_memory_is_refused_by_key() -> None:
    message = r"ray\.object_store_gib: 9000 is refused: this machine has [\d.]+ GiB of free"
    with pytest.raises(BadInput, match=message), ray_for_run(RayConfig(object_store_gib=9000.0)):
        raise AssertionError("Ray was started")


def test_deepspeed_is_kept_off_gpus_unless_a_learner_trains_on_them():
    assert worker_environment(gpu_learner=False)["DS_ACCELERATOR"] == "cpu"
    assert "DS_ACCELERATOR" not in worker_environment(gpu_learner=True)
    assert not load_config(PRESET).gpu_learner


@pytest.mark.parametrize(
    ("address", "chosen", "within"), [(None, None, "0"), (None, "1", "1"), ("auto", None, None), ("auto", "1", "1")]
)
def test_a_command_turns_the_recorder_off_only_for_a_ray_of_its_own_and_not_against_the_user(
    address, chosen, within, monkeypatch
):
    name = "RAY_enable_open_telemetry"
    monkeypatch.delenv(name, raising=False)
    if chosen is not None:
        monkeypatch.setenv(name, chosen)
    with only_ray_of_process(RayConfig(address=address)):
        assert os.environ.get(name) == within
    assert os.environ.get(name) == chosen
