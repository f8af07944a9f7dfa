"""What is wrong when a replica of a fleet gives no answer."""

from __future__ import annotations

from ray.exceptions import ActorDiedError, RayActorError


class FleetError(RuntimeError):
    """A replica of a fleet did not answer; the message names replica and method. Its batch can be sent again.

    `process_lives`: whether the replica's process is still there, and has to be ended before another takes its place.
    """

    process_lives = False


class ReplicaTimeout(FleetError, TimeoutError):
    """The deadline passed before a replica answered; it may hang."""

    process_lives = True


class ReplicaStarved(FleetError):
    """A replica could not get the memory that it needs. A new process may: what others held, or what this one had
    fragmented, is free then."""

    process_lives = True


class ReplicaDied(FleetError):
    """A replica's process ended; Ray restarts it if its actor has restarts left, with the weights on disk."""


def constructor_error(error: RayActorError) -> str | None:
    """What an actor's constructor raised, so that it ended; None where it ended for another reason."""
    lines = str(error).strip().splitlines()
    return lines[-1] if isinstance(error, ActorDiedError) and "creation task" in str(error) else None
