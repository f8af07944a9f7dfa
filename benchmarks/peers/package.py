"""TRL, which no other part of the repository needs: installed on demand, beside the environment and not into it."""

from __future__ import annotations

import subprocess
import sys
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
    if folder.is_dir():
        return folder
    try:
        with atomic_directory(folder) as staging:
            command = [sys.executable, "-m", "pip", "install", "--no-deps", "--target", str(staging), f"trl=={TRL}"]
            subprocess.run(command, check=True, timeout=_MOST_S, capture_output=True, text=True)
    except subprocess.TimeoutExpired as error:
        raise BadInput(f"TRL {TRL}: pip did not install it within {_MOST_S:g} s; {_REMEDY}") from error
    except subprocess.CalledProcessError as error:
        told = error.stderr.strip().splitlines()[-1:] or ["it says nothing"]
        raise BadInput(f"TRL {TRL}: pip cannot install it into {folder}: {told[0]}; {_REMEDY}") from error
    return folder
