"""What it costs to give new weights to replicas: gather, transfer, load and pause, beside the floor and the naive way.

    .venv/bin/python -m benchmarks.weight_sync [--megabytes 10,100,1000] [--receivers 1,2,4] [--tensors 1000]

A Ray actor stands for the learner, others for replicas of the editor: they hold tensors in the way that the Inverse
Diffuser does and take them with the same code. *Floor* is one copy of the memory for each receiver, *naive* one call
and one object for each tensor; *board*, which is not part of *all*, the copy that a run's weight board makes when the
replicas have them. Medians over the repeats, after ten updates that are not counted: the object store and the receivers
take their memory from the system with the first ones, and have it from then on.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import statistics
import time
from typing import Annotated

import ray
import torch
import typer
from rich.console import Console
from rich.table import Table

from weights.board import WeightBoard
from weights.holder import WeightHolder
from weights.manifest import WeightUpdate, publish_tensors
from weights.receipts import verify_receipts

_DEADLINE_S = 300.0
_WARMING = 10
_HEADINGS = (
    "MB", "receivers", "gather", "transfer + check", "load (pause)", "all", "floor", "all / floor", "naive",
    "naive / all", "pause / all", "board",
)  # fmt: skip


def tensors_of(megabytes: float, count: int, seed: int) -> dict[str, torch.Tensor]:
    """`count` float32 tensors of `megabytes` in all."""
    generator = torch.Generator().manual_seed(seed)
    each = max(1, int(megabytes * 1e6 / 4 / count))
    return {f"layer.{k}.weight": torch.rand(each, generator=generator) for k in range(count)}


class Sender:
    """Holds the weights as a learner does."""

    def __init__(self, megabytes: float, count: int) -> None:
        torch.set_num_threads(1)
        self._tensors = tensors_of(megabytes, count, 1)
        self._version = 0

    def train(self) -> None:
        """Change every tensor."""
        self._version += 1
        for tensor in self._tensors.values():
            tensor[0] += 1

    def gather(self) -> tuple[WeightUpdate, float]:
        """The weights in the object store and the seconds that packing and publishing took."""
        began = time.perf_counter()
        update = publish_tensors("editor", self._version, self._tensors)
        return update, time.perf_counter() - began

    def one(self, name: str) -> torch.Tensor:
        """One tensor, as the naive way asks for it."""
        return self._tensors[name]

    def copies(self, receivers: int) -> float:
        """Seconds for one copy of the memory for each receiver, one after another, into memory that is there."""
        flat = torch.cat(list(self._tensors.values()))
        target = flat.clone()
        began = time.perf_counter()
        for _ in range(receivers):
            target.copy_(flat)
        return time.perf_counter() - began


class Receiver:
    """Holds the weights as a replica does."""

    def __init__(self, name: str, megabytes: float, count: int) -> None:
        torch.set_num_threads(1)
        self._weights = WeightHolder(name, "editor", tensors_of(megabytes, count, 2))
        self._own = tensors_of(megabytes, count, 2)  # the naive way writes to it

    def apply(self, update: WeightUpdate) -> tuple[object, float, float]:
        """The receipt, the seconds of fetching and checking, and those of loading, in which the replica pauses."""
        began = time.perf_counter()
        sent = self._weights.check(update)
        checked = time.perf_counter()
        receipt = self._weights.load(update.manifest, sent)
        return receipt, checked - began, time.perf_counter() - checked

    def take(self, name: str, tensor: torch.Tensor) -> None:
        """One tensor of the naive way."""
        self._own[name].copy_(tensor)


def measure(megabytes: float, receivers: int, count: int, repeats: int) -> list[float]:
    """Seconds: gather, transfer and check, load, all, floor, board, naive."""
    sender = ray.remote(Sender).remote(megabytes, count)
    receiver = ray.remote(Receiver)
    replicas = [receiver.remote(f"replica-{k}", megabytes, count) for k in range(receivers)]
    board = WeightBoard(_DEADLINE_S)
    rows = []
    for _ in range(_WARMING + repeats):
        ray.get(sender.train.remote(), timeout=_DEADLINE_S)
        began = time.perf_counter()
        update, gathered = ray.get(sender.gather.remote(), timeout=_DEADLINE_S)
        board.publish(update)
        answers = ray.get([replica.apply.remote(update) for replica in replicas], timeout=_DEADLINE_S)
        verify_receipts(update.manifest, [receipt for receipt, _, _ in answers])
        everything = time.perf_counter() - began
        began = time.perf_counter()
        board.settle()
        kept = time.perf_counter() - began
        floor = ray.get(sender.copies.remote(receivers), timeout=_DEADLINE_S)
        rows.append([gathered, max(a[1] for a in answers), max(a[2] for a in answers), everything, floor, kept])
    began = time.perf_counter()
    for name in (spec.name for spec in update.manifest.tensors):
        tensor = sender.one.remote(name)
        ray.get([replica.take.remote(name, tensor) for replica in replicas], timeout=_DEADLINE_S)
    naive = time.perf_counter() - began
    for actor in (sender, *replicas):
        ray.kill(actor)
    board.close()
    return [statistics.median(column) for column in zip(*rows[_WARMING:], strict=True)] + [naive]


def main(
    megabytes: Annotated[str, typer.Option(help="Sizes of the weights, in MB.")] = "10,100,1000",
    receivers: Annotated[str, typer.Option(help="Numbers of replicas.")] = "1,2,4",
    tensors: Annotated[int, typer.Option(min=1, help="Tensors that the weights consist of.")] = 1000,
    repeats: Annotated[int, typer.Option(min=1)] = 7,
) -> None:
    ray.init(address="local", num_cpus=8, include_dashboard=False, object_store_memory=4 << 30, log_to_driver=False)
    table = Table(*_HEADINGS, title="seconds, medians")
    for size in (float(word) for word in megabytes.split(",")):
        for count in (int(word) for word in receivers.split(",")):
            gather, check, load, everything, floor, kept, naive = measure(size, count, tensors, repeats)
            seconds = (gather, check, load, everything, floor, everything / floor, naive, naive / everything)
            numbers = (*(f"{n:.3f}" for n in seconds), f"{load / everything:.2f}", f"{kept:.3f}")
            table.add_row(f"{size:g}", str(count), *numbers)
    ray.shutdown()
    Console(width=140).print(table)


if __name__ == "__main__":
    typer.run(main)
