import pytest
from ray.exceptions import ActorUnavailableError, OutOfMemoryError, RayError

from actors.site import Site, end_of, lacks_memory


def test_a_site_says_process_node_and_log():
    assert str(Site("10.0.0.7", 42, "/logs/worker-42.err")) == "process 42 on node 10.0.0.7, log /logs/worker-42.err"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OutOfMemoryError("Task was killed due to the node running low on memory"), "lower the number of workers"),
        (RayError("Worker unexpectedly exits with a connection error code 2. End of file."), "dmesg"),
        (RayError("The actor is dead because it was killed by `ray.kill`."), "on purpose"),
        (
            RayError(
                "The actor died because its node has died. Node Id: abe2\n\tthe actor's node was terminated "
                "unexpectedly: health check failed due to missing too many heartbeats"
            ),
            "its node was terminated unexpectedly: health check failed due to missing too many heartbeats; see whether",
        ),
        (RayError("first\n\n  the node was lost  \n"), "the node was lost"),
        (ActorUnavailableError("connection reset", b"a" * 16), "dmesg"),
        (RayError(""), "RayError"),
    ],
)
def test_the_end_of_a_process_is_told_with_what_to_do(error, expected):
    assert expected in end_of(error)
    assert "\n" not in end_of(error)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("could not create a primitive"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: you tried …"),
        RuntimeError("std::bad_alloc"),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        OSError(12, "Cannot allocate memory"),
        RuntimeError("can't start new thread"),
    ],
)
def test_what_libraries_say_when_they_get_no_memory_is_known(error):
    assert lacks_memory(error)
    assert not lacks_memory(ValueError("the batch has 3 rows"))
