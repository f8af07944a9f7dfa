import pickle
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from deepspeed.runtime.fp16.loss_scaler import LossScaler
from deepspeed.runtime.zero.config import ZeroStageEnum
from deepspeed.utils.tensor_fragment import fragment_address
from safetensors.torch import save_file

from learner.saving.state import NotASavedState, read_state, write_state


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


def test_a_state_comes_back_as_it_was(tmp_path: Path) -> None:
    weight = torch.randn(3, 4, dtype=torch.bfloat16)
    state = {
        "module": OrderedDict(weight=weight, tied=weight),
        "optimizer": {"state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.randn(2)}}, "param_groups": [{}]},
        "betas": (0.9, 0.999),
        "names": {"a"},
        "shape": torch.Size([3, 4]),
        "stage": ZeroStageEnum.weights,
        "scaler": LossScaler(scale=2.0),
        "where": fragment_address(numel=4, start=2),
        "dtype": torch.float32,
        "infinite": float("inf"),
        "none": None,
        "deep": [[[True, "text"]]],
    }
    write_state(state, tmp_path / "state.safetensors")
    found = read_state(tmp_path / "state.safetensors")
    assert list(found) == list(state)
    assert type(found["module"]) is OrderedDict
    torch.testing.assert_close(found["module"]["weight"], weight, rtol=0, atol=0)
    torch.testing.assert_close(found["module"]["tied"], weight, rtol=0, atol=0)
    assert found["optimizer"]["state"][0]["step"] == 3.0
    assert found["scaler"].cur_scale == 2.0
    assert type(found["scaler"]) is LossScaler
    for key in ("betas", "names", "shape", "stage", "where", "dtype", "infinite", "none", "deep"):
        assert found[key] == state[key]
        assert type(found[key]) is type(state[key])


def test_what_a_state_cannot_hold_is_named_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"state\.a\[1\] is a \w*Path, which a checkpoint cannot hold"):
        write_state({"a": [1, tmp_path]}, tmp_path / "state.safetensors")
    assert not (tmp_path / "state.safetensors").exists()


def test_a_pickle_in_its_place_is_refused_and_not_executed(tmp_path: Path) -> None:
    mark, file = tmp_path / "executed", tmp_path / "state.safetensors"
    file.write_bytes(pickle.dumps(Payload(mark)))
    with pytest.raises(NotASavedState, match="it is no saved state"):
        read_state(file)
    torch.save({"module": Payload(mark)}, file)
    with pytest.raises(NotASavedState):
        read_state(file)
    assert not mark.exists()


@pytest.mark.parametrize(
    "head",
    [
        None,
        {},
        {"state": "no JSON"},
        {"state": '["tensor", "99"]'},
        {"state": '["scaler", "system", [["x", 1]]]'},
        {"state": '["dtype", "load"]'},
        {"state": '["enum", "Color", 1]'},
        {"state": '["dict", [[["list", []], 1]]]'},
        {"state": '["os.system", "true"]'},
        {"state": "[" * 100_000 + "]" * 100_000},
        {"state": '["list", 3]'},
        {"state": "[]"},
    ],
)
def test_a_head_that_no_state_has_is_refused_by_name(tmp_path: Path, head: dict[str, str] | None) -> None:
    file = tmp_path / "state.safetensors"
    save_file({"0": torch.zeros(1)}, file, metadata=head)
    with pytest.raises(NotASavedState, match=r"state\.safetensors"):
        read_state(file)


def test_a_file_that_is_cut_off_or_missing_is_named(tmp_path: Path) -> None:
    file = tmp_path / "state.safetensors"
    write_state({"weight": torch.zeros(100)}, file)
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(NotASavedState):
        read_state(file)
    with pytest.raises(FileNotFoundError):
        read_state(tmp_path / "missing.safetensors")
