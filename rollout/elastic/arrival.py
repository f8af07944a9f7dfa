"""A Ray actor on its way to become a worker: questions one after the other, each asked when the one before is answered,
without waiting for any."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import Any

import ray
from ray.exceptions import ActorDiedError, RayActorError, RayError

from actors.fleet_error import constructor_error
from actors.site import end_of, last_line
from rollout.elastic.pool import WorkerGone
from weights.manifest import WeightMismatch

_ANEW_S = 1.0

Questions = Generator[ray.ObjectRef, Any, None]


class Arrival:
    """Asks an actor all questions anew whenever it is lost on the way; so its answers are of one life.

    Args:
        questions: begins them: a generator that yields what is asked and is sent the answer. Its end is the arrival.
    """

    def __init__(self, questions: Callable[[], Questions]) -> None:
        self._questions = questions
        self._under_way: Questions | None = None
        self._asked: ray.ObjectRef | None = None
        self._anew_at = 0.0

    def complete(self) -> bool:
        """Whether all is answered, the last of it just now.

        Raises:
            WorkerGone: the actor is dead and Ray will not start it again, or it refuses its weights.
        """
        try:
            if self._under_way is None:
                if time.monotonic() < self._anew_at:
                    return False
                self._under_way = self._questions()
                self._asked = next(self._under_way)
            while ray.wait([self._asked], timeout=0)[0]:
                self._asked = self._under_way.send(ray.get(self._asked, timeout=0))
        except StopIteration:
            return True
        except ActorDiedError as error:  # one that is started again is only unavailable
            raise WorkerGone(constructor_error(error) or end_of(error)) from error
        except RayActorError:
            self._under_way, self._anew_at = None, time.monotonic() + _ANEW_S
        except (WeightMismatch, RayError) as error:
            raise WorkerGone(last_line(error)) from error
        return False
