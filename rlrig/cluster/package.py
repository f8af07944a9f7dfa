"""What of a working directory travels to a cluster with a job: all but what Ray leaves out."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ray._private.ray_constants import RAY_RUNTIME_ENV_IGNORE_GITIGNORE
from ray._private.runtime_env.packaging import _get_excludes, get_excludes_from_ignore_files

from presets.errors import BadInput

EXCLUDES = (
    ".git",
    ".venv",
    "runs",
    "**/__pycache__",
    ".pytest_cache",
    ".ruff_cache",
    ".mypy_cache",
    ".hypothesis",
    "*.egg-info",
)
_LOG = logging.getLogger(__name__)
_SHOWN = 3


def travelling_files(folder: Path, excludes: Sequence[str] = EXCLUDES) -> Iterator[Path]:
    """The files below `folder` that Ray packs: neither `excludes` nor a .gitignore or .rayignore on their way names
    them."""
    reads_gitignore = os.environ.get(RAY_RUNTIME_ENV_IGNORE_GITIGNORE, "0") != "1"

    def files(here: Path, left_out: list[Callable[[Path], bool]]) -> Iterator[Path]:
        left_out = left_out + get_excludes_from_ignore_files(here, include_gitignore=reads_gitignore, logger=_LOG)
        for path in sorted(here.iterdir()):
            if any(names(path) for names in left_out):
                continue
            if path.is_dir() and not path.is_symlink():
                yield from files(path, left_out)
            else:
                yield path

    yield from files(folder.absolute(), [_get_excludes(folder, list(excludes))])


def package_sizes(folder: Path, excludes: Sequence[str] = EXCLUDES) -> dict[str, int]:
    """Bytes of what would travel, by the entries of `folder`."""
    sizes: dict[str, int] = {}
    for path in travelling_files(folder, excludes):
        entry = path.relative_to(folder.absolute()).parts[0]
        sizes[entry] = sizes.get(entry, 0) + path.lstat().st_size
    return sizes


def check_travels(folder: Path, needed: dict[str, Path]) -> None:
    """Look whether what a run needs travels with its working directory.

    Args:
        needed: by key of the run file, a file or a folder below `folder`; hidden files in a folder are not needed.

    Raises:
        BadInput: a file stays behind; the message has a line for each key.
    """
    there = set(travelling_files(folder))
    problems = []
    for key, place in needed.items():
        inside = [path for path in place.rglob("*") if path.is_file()] if place.is_dir() else [place]
        missing = [path for path in inside if path.absolute() not in there and not _hidden(path.relative_to(place))]
        if missing:
            names = ", ".join(str(path.absolute().relative_to(folder.absolute())) for path in sorted(missing)[:_SHOWN])
            more = f" and {len(missing) - _SHOWN} more files" if len(missing) > _SHOWN else ""
            problems.append(f"{key}: {names}{more} would not travel to the cluster")
    if problems:
        raise BadInput(
            "\n".join(problems) + f"\nA .gitignore, a .rayignore or one of {', '.join(EXCLUDES)} leaves them out: move "
            f"them, change the pattern, or set {RAY_RUNTIME_ENV_IGNORE_GITIGNORE}=1, with which Ray reads no .gitignore"
        )


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
