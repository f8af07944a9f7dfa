"""Saved states of older versions, which torch pickled."""

from __future__ import annotations

from pathlib import Path


def unpickle(folder: Path) -> None:
    """Write the files of a saved state anew that hold pickles, as `learner.saving.state` writes them.

    Reading a pickle executes what it holds: only for a folder whose maker is trusted.
    """
    import torch

    from learner.saving.state import SUFFIX, write_state

    for file in sorted(folder.glob("*/*.pt")):
        write_state(torch.load(file, map_location="cpu", weights_only=False), file.with_suffix(SUFFIX))
        file.unlink()
