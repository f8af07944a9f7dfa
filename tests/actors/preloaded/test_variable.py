import os

import pytest

from actors.preloaded.variable import variable


@pytest.mark.parametrize("before", [None, "", "old"])
def test_a_variable_is_afterwards_what_it_was_and_others_stay(monkeypatch, before):
    monkeypatch.delenv("RLRIG_ONE", raising=False)
    monkeypatch.delenv("RLRIG_OTHER", raising=False)
    if before is not None:
        monkeypatch.setenv("RLRIG_ONE", before)
    with variable("RLRIG_ONE", "new"):
        assert os.environ["RLRIG_ONE"] == "new"
        monkeypatch.setenv("RLRIG_OTHER", "stays")
    assert os.environ.get("RLRIG_ONE") == before
    assert os.environ["RLRIG_OTHER"] == "stays"
