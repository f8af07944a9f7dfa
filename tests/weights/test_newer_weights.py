"""What a replica that asks for newer weights gets when the board's answers change between its two questions."""

import pytest
import torch

from weights import board
from weights.manifest import pack


@pytest.fixture
def says(monkeypatch):
    """Lets a board say a version, and then have the weights of another one, or none."""

    def answers(version, latest):
        update = None if latest is None else pack("actor", latest, {"a": torch.zeros(1)})
        monkeypatch.setattr(board, "newest_version", lambda *_: version)
        monkeypatch.setattr(board, "latest_weights", lambda *_: update)

    return answers


@pytest.mark.parametrize(("version", "latest", "taken"), [(5, 5, 5), (5, 6, 6), (4, 4, None), (0, None, None)])
def test_only_newer_weights_are_given(says, version, latest, taken):
    says(version, latest)
    found = board.newer_weights("board", "actor", 4, 1.0)
    assert (found and found.manifest.version) == taken


@pytest.mark.parametrize("before", [None, 4, 3])
def test_weights_that_were_put_back_after_their_version_was_said_are_not_given(says, before):
    says(5, before)
    assert board.newer_weights("board", "actor", 4, 1.0) is None
