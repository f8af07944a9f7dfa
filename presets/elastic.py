"""What steers a fleet whose number of workers follows the backlog. Imports neither torch nor Ray."""

from __future__ import annotations

from pydantic import Field

from scenes.section import Section


class ElasticConfig(Section):
    """How fleets with `max_workers`, and EnvRunners with `rollout.max_env_runners`, grow and shrink between their two
    numbers. Ray's autoscaler brings and takes the nodes."""

    images_per_worker: int = Field(16, ge=1)
    """Images that wait or are being made for each Diffuser, and for each Inverse Diffuser; more ask for another one."""
    prompts_per_env_runner: int = Field(4, ge=1)
    """Prompts that wait or are being sampled for each EnvRunner; more ask for another one."""
    idle_s: float = Field(60.0, ge=0)
    """Seconds of lower demand before a worker is drained. More than a weight update takes, or fleets shrink in each."""
    drain_s: float = Field(120.0, ge=0)
    """Seconds that a worker which is drained may still work for what was sent before; then it is ended."""
