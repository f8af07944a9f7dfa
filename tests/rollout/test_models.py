import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from presets.run_file import load_config
from rollout.models import new_transports


@pytest.mark.parametrize(
    ("overrides", "actor", "editor"),
    [
        ([], ("ObjectStore", "vlm"), ("ObjectStore", "fleet")),
        (["sync.editor=gloo"], ("ObjectStore", "vlm"), ("Group", "fleet")),
        (["sync.actor=nccl", "vlm.actor.gpus=1"], ("VllmTransfer", "vlm"), ("ObjectStore", "fleet")),
    ],
)
def test_sync_chooses_the_transport_of_each_policy(run_file: Path, overrides, actor, editor) -> None:
    transports = pickle.loads(pickle.dumps(new_transports(load_config(run_file, overrides), "fleet", "vlm")))
    found = {policy: (type(transport).__name__, *vars(transport).values()) for policy, transport in transports.items()}
    assert found["actor"][:2] == actor
    assert found["editor"][:2] == editor


def test_a_process_that_only_holds_handles_loads_no_model_library() -> None:
    """The driver and every EnvRunner are such processes, and each of these libraries takes seconds."""
    code = (
        "import sys, rollout.algorithm, rollout.env_runner\n"
        "print(sorted({'diffusers', 'transformers', 'peft', 'vllm', 'deepspeed'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[]", done.stderr[-2000:]
