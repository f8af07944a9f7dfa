"""Folders that are complete or not there: written beside their place, flushed to disk, then renamed into it."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FULL = (errno.ENOSPC, errno.EDQUOT)


class DiskFull(OSError):
    """There is not enough space to write; what was there before is unchanged."""


@contextmanager
def atomic_directory(target: Path, needed_bytes: int = 0) -> Iterator[Path]:
    """Write into the folder that this yields; on leaving, it takes the place of `target` in one rename.

    An error inside leaves `target` as it was and removes what was written. A crash at any moment leaves either the old
    or the new folder; `recover` puts the old one back in the instant where it stands beside its place.

    Args:
        target: the folder to create or to replace.
        needed_bytes: refuse at once if the disk has less free space than this.

    Raises:
        DiskFull: no space is left, before or while writing.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    recover(target)
    free = shutil.disk_usage(target.parent).free
    if free < needed_bytes:
        raise DiskFull(
            errno.ENOSPC,
            f"{target}: writing it needs {needed_bytes / 1e6:.1f} MB and the disk has {free / 1e6:.1f} MB free; "
            "free some space or choose another folder",
        )
    staging = target.with_name(f".{target.name}.partial")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir()
    try:
        yield staging
        _flush(staging)
    except BaseException as error:
        full = _is_disk_full(error, target.parent)
        shutil.rmtree(staging, ignore_errors=True)
        if full:
            kept = "the folder written before is unchanged" if target.exists() else "nothing was written"
            raise DiskFull(
                errno.ENOSPC, f"{target}: the disk became full while writing; {kept}; free some space and try again"
            ) from error
        raise
    _exchange(staging, target)


def recover(target: Path) -> None:
    """Finish or undo a replacement of `target` that a crash interrupted. Call it before reading `target`."""
    target = Path(target)
    old = _old(target)
    if not old.exists():
        return
    if target.exists():
        shutil.rmtree(old)
    else:
        os.rename(old, target)


def _exchange(staging: Path, target: Path) -> None:
    if target.exists():
        os.rename(target, _old(target))
    os.rename(staging, target)
    _flush_directory(target.parent)
    shutil.rmtree(_old(target), ignore_errors=True)


def _old(target: Path) -> Path:
    return target.with_name(f".{target.name}.old")


def _flush(folder: Path) -> None:
    for parent, _, names in os.walk(folder):
        for name in names:
            descriptor = os.open(os.path.join(parent, name), os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        _flush_directory(Path(parent))


def _flush_directory(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_disk_full(error: BaseException | None, folder: Path) -> bool:
    """Whether a full disk is behind this error.

    Writers in native code (torch, safetensors) report it as an error of their own kind, so the disk is asked as well.
    """
    if not isinstance(error, Exception):
        return False
    if getattr(error, "errno", None) in _FULL or "No space left" in str(error):
        return True
    return shutil.disk_usage(folder).free < 4096
