"""Packages that one command needs: installed on demand, beside the environment and not into it. One of them is TRL."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from learner.saving.atomic_directory import atomic_directory
from presets.errors import BadInput

TRL = "1.16.0"  # made for transformers 5; what it needs besides is in the environment already
_MOST_S = 600.0
_REMEDY = "let pip reach a registry that has it, or give --policy editor, which does without"


def trl_folder(cache: Path) -> Path:
    """A folder for `sys.path` that holds TRL. The registry that pip is configured for is asked once; then it is there.

    Raises:
        BadInput: it cannot be had, or the environment's transformers is too old for it.
    """
    if int(version("transformers").split(".")[0]) < 5:
        raise BadInput(f"TRL {TRL} is measured with transformers 5, and {version('transformers')} is installed")
    folder = cache.expanduser().resolve() / f"trl-{TRL}"
    return installed(folder, f"TRL {TRL}", [f"trl=={TRL}"], _REMEDY)


def installed(folder: Path, what: str, packages: Sequence[str], remedy: str) -> Path:
    """`folder`, with these packages in it and nothing that they ask for; where it is there, nothing is done.

    Args:
        what: what they are called together, in messages.
        remedy: what to do where they cannot be had.

    Raises:
        BadInput: pip does not install them.
    """
    if folder.is_dir():
        return folder
    try:
        with atomic_directory(folder) as staging:
            command = [sys.executable, "-m", "pip", "install", "--no-deps", "--target", str(staging), *packages]
            subprocess.run(command, check=True, timeout=_MOST_S, capture_output=True, text=True)
    except subprocess.TimeoutExpired as error:
        raise BadInput(f"{what}: pip did not install it within {_MOST_S:g} s; {remedy}") from error
    except subprocess.CalledProcessError as error:
        told = error.stderr.strip().splitlines()[-1:] or ["it says nothing"]
        raise BadInput(f"{what}: pip cannot install it into {folder}: {told[0]}; {remedy}") from error
    return folder
