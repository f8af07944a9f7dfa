"""What tests of several folders share."""

from __future__ import annotations

import pytest

from tests.tutorial import Tutorial, go_through


@pytest.fixture(scope="session")
def tutorial(tmp_path_factory: pytest.TempPathFactory) -> Tutorial:
    """The tutorial's steps, done: an episode, and a run of two updates of each policy."""
    return go_through(tmp_path_factory.mktemp("tutorial"))
