"""Whether the engines start: each is tried in a process of its own, so that a crash or a hang is a finding."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass

from presets.places import BASE

_RAY = """
import ray
ray.init(num_cpus=1, include_dashboard=False, configure_logging=False, log_to_driver=False, address="local")
assert ray.get(ray.remote(lambda: 42).remote(), timeout=60) == 42
ray.shutdown()
print("a task ran")
"""
_VLLM = """
import vllm
from vllm.platforms import current_platform
assert current_platform.device_type, "vLLM found no platform"
print("platform " + current_platform.device_type)
"""
_DEEPSPEED = """
import deepspeed
from deepspeed.accelerator import get_accelerator
accelerator = get_accelerator()
assert accelerator.is_available(), "no accelerator"
print("accelerator " + accelerator.device_name())
"""
_DIFFUSERS = """
import sys
from diffusers import FluxKontextPipeline
pipeline = FluxKontextPipeline.from_pretrained(sys.argv[1])
print(f"{sum(p.numel() for p in pipeline.transformer.parameters()) / 1e6:.1f} M parameters")
"""


@dataclass(frozen=True)
class EngineStart:
    """How one engine's start went: `detail` is what it printed, or the last line of its error."""

    engine: str
    works: bool
    detail: str
    seconds: float


def start_engine(engine: str, code: str, *arguments: str, deadline_s: float = 180.0) -> EngineStart:
    """Run `code` in a new Python process; what it prints last is the detail."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "VLLM_LOGGING_LEVEL": "ERROR",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    }
    environment.pop("RAY_ADDRESS", None)
    began = time.monotonic()
    try:
        process = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code, *arguments],
            cwd=BASE,  # the folder of the user may hold what looks like one of the packages
            env=environment,
            capture_output=True,
            text=True,
            timeout=deadline_s,
        )
    except subprocess.TimeoutExpired:
        return EngineStart(engine, False, f"did not start within {deadline_s:g} s", deadline_s)
    seconds = time.monotonic() - began
    output = process.stdout if process.returncode == 0 else process.stderr or process.stdout
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return EngineStart(engine, process.returncode == 0, lines[-1] if lines else "no output", seconds)


def engine_codes(on_gpu: bool, flux: str | None) -> dict[str, tuple[str, ...]]:
    """Code and arguments of each engine's check; the pipeline is loaded where a folder is given."""
    deepspeed = _DEEPSPEED if on_gpu else 'import os\nos.environ["DS_ACCELERATOR"] = "cpu"\n' + _DEEPSPEED
    codes: dict[str, tuple[str, ...]] = {"ray": (_RAY,), "vllm": (_VLLM,), "deepspeed": (deepspeed,)}
    codes["diffusers"] = ("import diffusers\nprint('imported')",) if flux is None else (_DIFFUSERS, flux)
    return codes
