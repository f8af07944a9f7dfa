"""Serve's real controller, stopped as by a debugger."""

from __future__ import annotations

import os
import signal
import time

import pytest
import ray
from ray import serve
from ray.serve._private.constants import SERVE_CONTROLLER_NAME, SERVE_NAMESPACE

from experiments.faults.processes import family
from serving.applications import wait_for_applications
from serving.serve_controller import serve_applications, wait_for_controller
from tests.local_cluster import local_ray


def test_where_there_is_no_ray_nothing_is_waited_for_and_none_is_started():
    wait_for_controller(0.1, 0.1)
    assert not ray.is_initialized()


@serve.deployment(ray_actor_options={"num_cpus": 0})
class Echo:
    def __call__(self, text: str) -> str:
        return text


@pytest.mark.engines
def test_a_controller_that_hangs_is_ended_and_its_successor_knows_what_is_served():
    with local_ray(1):
        wait_for_controller(0.1, 0.1)  # Serve does not run yet
        serve.start(proxy_location="Disabled")
        handle = serve.run(Echo.bind(), name="echo", route_prefix=None)
        controller = ray.get_actor(SERVE_CONTROLLER_NAME, namespace=SERVE_NAMESPACE)
        pid = ray.get(controller.get_pid.remote(), timeout=60)
        wait_for_controller(20.0, 60.0)
        assert ray.get(controller.get_pid.remote(), timeout=60) == pid  # one that answers is left alone
        os.kill(pid, signal.SIGSTOP)
        began = time.monotonic()
        wait_for_controller(2.0, 120.0)
        assert time.monotonic() - began >= 2.0
        assert ray.get(controller.get_pid.remote(), timeout=60) != pid
        assert family(pid) == []
        assert set(serve_applications()) == {"echo"}
        wait_for_applications(["echo"], 60.0)  # it finds the replicas again
        assert handle.remote("there").result(timeout_s=60) == "there"
        serve.shutdown()
