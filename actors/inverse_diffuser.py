"""The Inverse Diffuser: the image editor that is trained. `ray.remote(InverseDiffuser)` makes it a Ray actor."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from actors.conditioning import velocity
from actors.edit import Edit
from actors.flow_path import FlowOde, FlowSde
from actors.replica import Replica
from weights.checksums import tensor_checksum
from weights.holder import WeightHolder
from weights.manifest import WeightMismatch, WeightUpdate
from weights.receipts import WeightReceipt
from weights.transports.meeting import Offer, receive

if TYPE_CHECKING:
    from weights.adapter_holder import AdapterHolder

POLICY = "editor"
_BOARD_DEADLINE_S = 60.0


class InverseDiffuser(Replica):
    """Edits batches of images, and takes new weights.

    It starts with the weights on disk as version 0, or with the newest ones of its board, also when Ray restarts it
    after a crash. Every edit says with which version it was made.

    Args:
        path: pipeline folder, or hub id.
        replica: the name by which receipts know this replica.
        threads: CPU threads of torch.
        board: name of the `WeightBoard` of its policy.
        draw_steps: denoising steps of a drawing where a call names none; None: as many as of an edit.
        settings: everything else that ImageModel takes.

    Raises:
        ModelLoadError, ValueError: see `load_editor`.
        WeightMismatch, TimeoutError: the newest weights could not be loaded.
    """

    def __init__(
        self,
        path: str | Path,
        replica: str = "inverse-diffuser-0",
        threads: int = 1,
        board: str | None = None,
        draw_steps: int | None = None,
        **settings: Any,
    ) -> None:
        from actors.model_families import load_editor  # loads diffusers, which whoever holds a handle does not need

        torch.set_num_threads(threads)
        self.replica = replica
        self._draw_steps = draw_steps
        self.model = load_editor(path, **settings)
        held = self.model.transformer.state_dict(keep_vars=True)
        self._weights: WeightHolder | AdapterHolder = WeightHolder(replica, POLICY, held)
        self._at_work = threading.Lock()
        grey = np.full(self.model.size.shape, 128, np.uint8)
        self._asked = self.model.conditioning([grey], ["probe"])
        if self.model.texts is not None:
            self.model.texts.leave()  # no denoising step follows
        if board is not None:
            from weights.board import latest_weights  # loads Ray, which a model without a board does without

            newest = latest_weights(board, POLICY, _BOARD_DEADLINE_S)
            if newest is not None:
                self.apply_weights(newest)

    def version(self) -> int:
        """Version of the weights in use; 0 is the model as it lies on disk."""
        return self.receipt().version

    def receipt(self) -> WeightReceipt:
        """Of the last update; before the first, what it holds from disk, as version 0."""
        return self._weights.receipt

    def edit(
        self,
        images: Sequence[np.ndarray],
        prompts: Sequence[str],
        seeds: Sequence[int],
        sde: FlowSde | FlowOde | None = None,
        steps: int | None = None,
    ) -> list[Edit]:
        """One edit for each image, marked with the version; see ImageModel.edit."""
        with self._at_work:
            return [replace(e, version=self.version()) for e in self.model.edit(images, prompts, seeds, sde, steps)]

    def draw(self, prompts: Sequence[str], seeds: Sequence[int], steps: int | None = None) -> list[np.ndarray]:
        """One (H, W, 3) uint8 image for each prompt as the model on disk draws it, without an adapter that came since;
        see ImageModel.draw.

        Raises:
            ValueError: all weights are another version's; or see ImageModel.draw.
        """
        from weights.lora import without_adapter  # loads peft

        with self._at_work:
            adapted = self._adapted
            if self.version() > 0 and not adapted:
                raise ValueError(
                    f"replica {self.replica!r} holds version {self.version()} of all weights: it draws no more"
                )
            with without_adapter(self.model.transformer) if adapted else nullcontext():
                images: list[np.ndarray] = self.model.draw(prompts, seeds, steps or self._draw_steps)
        return images

    def apply_weights(self, update: WeightUpdate) -> WeightReceipt:
        """Replace all weights of the transformer, or those of the adapter beside them. The receipt's digest comes from
        the parameters that are then held.

        Everything is checked before the first parameter changes, so after an error the replica goes on with the
        weights it had; and edits wait only while parameters change.

        Raises:
            WeightMismatch, TimeoutError: see `WeightHolder.check` and `AdapterHolder.check`; or all weights are sent to
                a replica that holds an adapter.
        """
        holder = self._holder(update)
        sent = holder.check(update)
        with self._at_work:
            before = self._probe()
            receipt = holder.load(update.manifest, sent)
            self._weights = holder
            return replace(receipt, probe=self._probe(), previous_probe=before)

    @property
    def _adapted(self) -> bool:
        from weights.adapter_holder import AdapterHolder  # loads peft

        return isinstance(self._weights, AdapterHolder)

    def _holder(self, update: WeightUpdate) -> WeightHolder | AdapterHolder:
        from weights.adapter_holder import AdapterHolder  # loads peft

        adapted = isinstance(self._weights, AdapterHolder)
        if update.kind == "lora":
            return self._weights if adapted else AdapterHolder(self.model.transformer, self._weights.receipt)
        if adapted:
            raise WeightMismatch(
                f"replica {self.replica!r}, policy {update.manifest.policy!r} version {update.manifest.version}: these "
                "are all weights, and the replica holds an adapter; start it again"
            )
        return self._weights

    def receive_weights(self, offer: Offer) -> WeightReceipt:
        """`apply_weights`, with an update that a sender broadcasts.

        Raises:
            WeightMismatch: see `WeightHolder.check`.
            TransferFailed: see `weights.transports.meeting.receive`.
        """
        return replace(self.apply_weights(receive(offer, self.replica)), transport=offer.backend)

    @torch.no_grad()
    def _probe(self) -> str:
        """A checksum of the transformer's velocity for one fixed edit."""
        return tensor_checksum(velocity(self.model.transformer, self._asked.zeros(), self._asked, 0.5))
