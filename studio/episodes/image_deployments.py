"""The Diffuser and the Inverse Diffuser as Serve deployments: batch after batch, replicas as needed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from ray import serve

from serving.generation import ReplicaBroken
from serving.replica_count import replica_count
from studio.episodes.row_calls import answer_each

if TYPE_CHECKING:
    from ray.serve import Application

    from actors.replica import Replica
    from weights.manifest import WeightUpdate
    from weights.receipts import WeightReceipt

_QUIET = {"log_level": "WARNING", "enable_access_log": False}
QUEUED_BATCHES = 4
"""Batches that a replica holds at most, the one at work included."""
_AT_ONCE = 1.5  # batches for each replica; where there are more, Serve starts another replica


class ImageReplica:
    """One replica: a model that works on a thread of its own, so that its health can always be asked for.

    Args:
        kind: `actors.diffuser.Diffuser` or `actors.inverse_diffuser.InverseDiffuser`.
        arguments: of its constructor.
        hang_s: seconds after which a batch counts as hanging; Serve then replaces the replica.
    """

    def __init__(self, kind: type[Replica], arguments: Mapping[str, Any], hang_s: float) -> None:
        self._name = serve.get_replica_context().replica_id.unique_id
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")  # OMP_NUM_THREADS holds on each thread anew
        self._model: Any = self._thread.submit(kind, replica=self._name, **arguments).result()
        self._hang_s = hang_s
        self._began: float | None = None

    async def check_health(self) -> None:
        """Serve replaces the replica when this raises.

        Raises:
            ReplicaBroken: a batch hangs.
        """
        if self._began is not None and (late := time.monotonic() - self._began) > self._hang_s:
            raise ReplicaBroken(f"replica {self._name!r}: a batch takes {late:.0f} s, more than {self._hang_s:g} s")

    async def _work(self, method: Callable[..., Sequence[Any]], *columns: Sequence[Any]) -> list[Any]:
        """The model's answers to a batch, on its thread."""

        def work() -> list[Any]:
            self._began = time.monotonic()
            try:
                return answer_each(method, columns)
            finally:
                self._began = None

        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


class DrawReplica(ImageReplica):
    """A replica of the Diffuser."""

    async def draw(self, prompts: Sequence[str], seeds: Sequence[int]) -> list[Any]:
        """Images, (H, W, 3) uint8; see `ImageModel.draw` and `answer_each`."""
        return await self._work(self._model.draw, prompts, seeds)


class EditReplica(ImageReplica):
    """A replica of the Inverse Diffuser."""

    async def edit(self, images: Sequence[np.ndarray], prompts: Sequence[str], seeds: Sequence[int]) -> list[Any]:
        """Edited images, (H, W, 3) uint8, each with the version of the weights that made it; see `ImageModel.edit` and
        `answer_each`."""
        edits = await self._work(self._model.edit, images, prompts, seeds)
        return [edit if isinstance(edit, Exception) else (edit.image, edit.version) for edit in edits]

    async def apply_weights(self, update: WeightUpdate) -> WeightReceipt:
        """`InverseDiffuser.apply_weights`; edits go on until the parameters change."""
        return await asyncio.to_thread(self._model.apply_weights, update)

    async def receipt(self) -> WeightReceipt:
        """What it holds now."""
        receipt: WeightReceipt = self._model.receipt()
        return receipt


def build_image_app(
    name: str,
    deployment: type[ImageReplica],
    kind: type[Replica],
    arguments: Mapping[str, Any],
    *,
    replicas: int,
    max_replicas: int | None,
    actor_options: Mapping[str, Any],
    hang_s: float,
) -> Application:
    """The Serve application of one image model.

    Args:
        name: of the deployment.
        deployment: `DrawReplica` or `EditReplica`.
        kind, arguments, hang_s: see `ImageReplica`.
        replicas, max_replicas: see `replica_count`.
        actor_options: Ray's, such as num_cpus and label_selector.
    """
    return (
        serve.deployment(deployment)
        .options(
            name=name,
            **replica_count(replicas, max_replicas, _AT_ONCE),
            ray_actor_options=dict(actor_options),
            max_ongoing_requests=QUEUED_BATCHES,
            graceful_shutdown_timeout_s=5,
            health_check_period_s=5,
            health_check_timeout_s=10,
            max_constructor_retry_count=1,  # a model that cannot be loaded fails in the same way again
            logging_config=_QUIET,
        )
        .bind(kind, arguments, hang_s)
    )
