import time

import pytest

from actors.replica import Replica


class Sleeper(Replica):
    replica = "s0"

    def sleep(self, seconds: float, answer: int = 0) -> int:
        time.sleep(seconds)
        return answer


def test_a_timed_call_gives_the_answer_and_its_seconds():
    answer, seconds = Sleeper().timed("sleep", 0.05, answer=3)
    assert answer == 3
    assert 0.05 <= seconds < 1.0


def test_an_error_passes_through():
    with pytest.raises(TypeError):
        Sleeper().timed("sleep")
