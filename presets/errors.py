"""Failures that the command line tells in one message, without a traceback."""

from __future__ import annotations


class BadInput(ValueError):
    """What the user gave cannot be used: the message names it, its value and the remedy. Exit code 2."""


class RunFailed(RuntimeError):
    """The run could not go on for a reason that is known and named. Exit code 1."""


class ConfigError(BadInput):
    """A run file that cannot be used; each line of the message names a key, its value and what is allowed."""
