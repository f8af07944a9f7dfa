import time
from types import SimpleNamespace

import pytest
import torch

from actors.replica import Replica


class Slow(Replica):
    replica = "s0"

    def answer_late(self, seconds: float, answer: int = 0) -> int:
        time.sleep(seconds)
        return answer


def test_a_timed_call_gives_the_answer_and_its_seconds():
    answer, seconds = Slow().timed("answer_late", 0.05, answer=3)
    assert answer == 3
    assert 0.05 <= seconds < 1.0


def test_an_error_passes_through():
    with pytest.raises(TypeError):
        Slow().timed("answer_late")


def test_a_replica_that_sleeps_is_in_cpu_memory_and_comes_back_to_where_it_was():
    class Pipe:
        device, moved = torch.device("meta"), []

        def to(self, device) -> None:
            self.moved.append(str(device))
            self.device = torch.device(device)

    replica = Slow()
    replica.model = SimpleNamespace(pipe=Pipe())
    replica.wake()
    assert Pipe.moved == []  # it had not slept
    for _ in range(2):
        replica.sleep()
    replica.wake()
    assert Pipe.moved == ["cpu", "meta"]
