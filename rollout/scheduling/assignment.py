"""What a scheduler hands out and takes back: prompts, their assignments to workers, complete groups, batches."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

W = TypeVar("W", bound=Hashable)
R = TypeVar("R")


class Outcome(StrEnum):
    """What became of a result."""

    ACCEPTED = "accepted"
    """An update will train on it."""
    DROPPED = "dropped"
    """It carries no signal; another prompt takes its place."""
    REVOKED = "revoked"
    """It is of no use: its prompt was given to another worker before it came, or it was told twice."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt by its position in the run's stream of prompts, and what it went through before."""

    number: int
    attempts: int = 0
    overtaken: bool = False  # a group of it became too old to be trained on


@dataclass(frozen=True, slots=True)
class Assignment(Generic[W]):
    """A group under way. `ticket` names this attempt and no other; `started` is in seconds of the driver's clock."""

    ticket: int
    prompt: Prompt
    version: int
    worker: W
    started: float


@dataclass(frozen=True, slots=True)
class Group(Generic[R]):
    """A complete group: its prompt, the version that it started with, and what the worker gave."""

    ticket: int
    prompt: Prompt
    version: int
    result: R


@dataclass(frozen=True, slots=True)
class Batch(Generic[W, R]):
    """What an update trains on, in the order of the prompts, and what it makes too old to be trained on: groups under
    way, which a driver may cancel but tells the end of as of any other, and complete groups."""

    groups: list[Group[R]]
    overtaken: list[Assignment[W]]
    expired: list[Group[R]]
