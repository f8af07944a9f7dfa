"""A machine without the hub; tests that want one start it."""

from tests.rlrig.local_hub import no_hub

__all__ = ["no_hub"]
