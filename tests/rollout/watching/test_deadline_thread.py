import threading
import time

from rollout.watching.deadline_thread import DeadlineThread


def test_calls_are_made_in_order_and_errors_come_back_as_one_line() -> None:
    thread, seen = DeadlineThread("t"), []
    assert thread.run(lambda: seen.append(1), 5.0) is None
    assert thread.run(lambda: 1 / 0, 5.0) == "ZeroDivisionError: division by zero"
    assert thread.run(lambda: seen.append(2), 5.0) is None
    assert seen == [1, 2]


def test_a_call_that_hangs_holds_nobody_up_and_is_waited_for_by_later_ones() -> None:
    thread, gate, seen = DeadlineThread("t"), threading.Event(), []
    began = time.monotonic()
    assert thread.run(lambda: gate.wait(30), 0.05) == "no answer within 0.05 s"
    assert thread.run(lambda: seen.append(1), 5.0) == "left out: an earlier call has not come back"
    assert time.monotonic() - began < 5.0
    gate.set()
    ends = time.monotonic() + 5.0
    while (problem := thread.run(lambda: seen.append(2), 5.0)) is not None:
        assert "has not come back" in problem
        assert time.monotonic() < ends
        time.sleep(0.01)
    assert seen == [2]
