"""The endpoint on Ray until it is interrupted, with the newest weights of a run that it follows."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from actors.site import last_line
from rlrig.cluster.model_fetch import fetch_models
from rollout.local_ray import ray_for_run
from studio.episodes.follow import CheckpointGone, RunFollower
from studio.exposure import early_port, in_url

if TYPE_CHECKING:
    from rlrig.endpoint.plan import ServingPlan
    from rollout.progress import Progress
    from serving.proxy.early_port import EarlyPort
    from studio.config import GatewayConfig
    from studio.deployed_service import DeployedService

_POLL_S = 2.0


def serve_on_ray(plan: ServingPlan, gateway: GatewayConfig, token: str, progress: Progress) -> None:
    """Serve until a `KeyboardInterrupt`, then end everything.

    Raises:
        BadInput: a port that is taken.
        RunFailed, StartFailed, TimeoutError: a part did not start.
    """
    if plan.config.ray.address is not None:  # the endpoint listens on the cluster's head, which may be another machine
        _serve(plan, gateway, token, progress, None)
        return
    with early_port(gateway) as early:
        progress.note(f"http://{in_url(gateway.host)}:{early.port}/studio answers, and tells what is loading")
        _serve(plan, gateway, token, progress, early)


def _serve(plan: ServingPlan, gateway: GatewayConfig, token: str, progress: Progress, early: EarlyPort | None) -> None:
    with ray_for_run(plan.config.ray):
        for config in filter(None, (plan.config, plan.raw)):
            fetch_models(config, progress)
        from studio.deployed_service import DeployedService  # it loads the image models' libraries

        if early:
            early.now = "Ray Serve starts"
        with progress.phase("start"):
            service = DeployedService(
                plan.config,
                gateway,
                raw=plan.raw,
                versions=plan.versions,
                token=token,
                runs=plan.runs,
                note=progress.note,
                early=early,
            )
        try:
            watch = ServiceWatch(service, RunFollower(plan.follow, plan.config) if plan.follow else None, progress)
            while True:
                watch.step()
                time.sleep(_POLL_S)
        except KeyboardInterrupt:
            progress.note("interrupted; the endpoint ends")
        finally:
            with progress.phase("stop"):
                service.close()


class ServiceWatch:
    """Brings the newest weights of a run to a service, and says what keeps a part of it from running.

    Args:
        service: the service.
        follower: of the run; None follows none.
        progress: hears of each change.
    """

    def __init__(self, service: DeployedService, follower: RunFollower | None, progress: Progress) -> None:
        self._service, self._follower, self._progress = service, follower, progress
        self._versions: dict[str, int] = {}
        self._checkpoint: Path | None = None
        self._trouble: dict[str, str] = {}

    def step(self) -> None:
        """Look once, and put in what is new. What goes wrong is said, and tried again at the next step, but for weights
        that the replicas refuse."""
        trouble = self._service.trouble()
        if trouble != self._trouble:
            self._progress.note("; ".join(f"{name}: {state}" for name, state in trouble.items()) or "all parts run")
            self._trouble = trouble
        if self._follower is not None:
            self._catch_up(self._follower)

    def _catch_up(self, follower: RunFollower) -> None:
        from studio.episodes.loss import is_loss
        from weights.manifest import WeightMismatch

        checkpoint = follower.newest()
        if checkpoint is None or checkpoint == self._checkpoint:
            return
        try:
            for policy, version in follower.versions(checkpoint).items():
                if self._versions.get(policy, 0) >= version:
                    continue
                try:
                    update = follower.update(checkpoint, policy)
                    receipts = self._service.apply_weights(update)
                except WeightMismatch as error:
                    self._progress.note(
                        f"{policy} version {version} is refused, what is served stays: {last_line(error)}"
                    )
                else:
                    held = ", ".join(sorted(receipt.replica for receipt in receipts))
                    self._progress.note(f"{policy} version {version}, {update.manifest.digest}: held by {held}")
                self._versions[policy] = version
        except CheckpointGone:  # a newer one has taken its place
            return
        except Exception as error:
            if not (isinstance(error, TimeoutError) or is_loss(error)):
                raise
            self._progress.note(f"new weights are not in place, which is tried again: {last_line(error)}")
            return
        self._checkpoint = checkpoint
