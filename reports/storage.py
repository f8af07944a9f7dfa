"""A run's folder kept at a URI as well (S3, GCS, a mounted folder, …): pushed at every checkpoint, pulled to resume."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
from fsspec.core import url_to_fs
from pyarrow import fs

from presets.errors import BadInput, RunFailed
from weights.inventory import INVENTORY

_CHECKPOINTS = "checkpoints"


class Mirror:
    """The copy of one run's folder at a URI, by `pyarrow.fs`, or by fsspec where pyarrow does not know the scheme.

    Args:
        uri: `s3://bucket/runs/name`, `gs://…`, `file:///…`; options of the file system go into its query, for example
            `?endpoint_override=http://127.0.0.1:5000&scheme=http`. Credentials come from the environment.
        option: what the user calls it, for messages.

    Raises:
        BadInput: an unknown scheme, or a URI that is not one; the message begins with `option`.
    """

    def __init__(self, uri: str, option: str = "--out") -> None:
        self.uri, self._option = uri, option
        self._files, base = _file_system(uri, option)
        self._base = base.rstrip("/")
        self._pushed: dict[str, tuple[int, int]] = {}  # size and time of what lies there

    @property
    def name(self) -> str:
        """The last part of the path, by which the local folder is called."""
        return self._base.rsplit("/", 1)[-1]

    def exists(self) -> bool:
        """Whether a run lies there.

        Raises:
            RunFailed: the storage does not answer, or refuses.
        """
        with _named(self.uri, "looked at"):
            return bool(self._files.get_file_info(f"{self._base}/config.yaml").type == fs.FileType.File)

    def read_text(self, name: str) -> str | None:
        """The text of a file of the run; None where it is not there.

        Raises:
            RunFailed: the storage does not answer, or refuses.
        """
        with _named(self.uri, "read"):
            path = f"{self._base}/{name}"
            if self._files.get_file_info(path).type != fs.FileType.File:
                return None
            with self._files.open_input_stream(path) as source:
                content: bytes = source.read()
        return content.decode("utf-8", errors="replace")

    def push(self, folder: Path) -> int:
        """Write what is new or changed in `folder`, remove checkpoints that are gone from it; the number of files that
        were written. The inventory of a checkpoint goes last, so that one that is cut off is known to be damaged.

        Raises:
            RunFailed: the storage does not answer, or refuses; calling it again goes on.
        """
        there = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
        states = {name: state for name, path in there.items() if (state := _state(path)) is not None}
        changed = sorted(
            (name for name, state in states.items() if self._pushed.get(name) != state),
            key=lambda name: (name.endswith(INVENTORY), name),
        )
        with _named(self.uri, "written"):
            for name in changed:
                target = f"{self._base}/{name}"
                self._files.create_dir(target.rsplit("/", 1)[0], recursive=True)
                with there[name].open("rb") as source, self._files.open_output_stream(target) as sink:
                    while block := source.read(4 << 20):
                        sink.write(block)
                self._pushed[name] = states[name]
            self._forget_checkpoints({path.name for path in (folder / _CHECKPOINTS).glob("[0-9]*")})
        return len(changed)

    def pull(self, folder: Path) -> None:
        """Make `folder`, which must not exist, what lies there.

        Raises:
            BadInput: no run lies there.
            RunFailed: the storage does not answer, or refuses.
        """
        if not self.exists():
            raise BadInput(f"{self._option} {self.uri}: holds no run; start one without --resume")
        with _named(self.uri, "read"):
            fs.copy_files(self._base, str(folder), self._files, fs.LocalFileSystem())
        for path in folder.rglob("*"):
            if path.is_file():
                state = path.stat()
                self._pushed[path.relative_to(folder).as_posix()] = (state.st_size, state.st_mtime_ns)

    def pull_parts(self, folder: Path, parts: Sequence[str]) -> None:
        """Copy these files and folders of the run into `folder`, as far as they are there; nothing is pushed from it.

        Raises:
            BadInput: none of them is there.
            RunFailed: the storage does not answer, or refuses.
        """
        with _named(self.uri, "read"):
            infos = self._files.get_file_info([f"{self._base}/{part}" for part in parts])
            found = [one for one in infos if one.type != fs.FileType.NotFound]
            if not found:
                raise BadInput(f"{self._option} {self.uri}: holds none of {', '.join(parts)}; give the folder of a run")
            for one in found:
                is_folder = one.type == fs.FileType.Directory
                (folder / one.base_name if is_folder else folder).mkdir(parents=True, exist_ok=True)
                fs.copy_files(one.path, str(folder / one.base_name), self._files, fs.LocalFileSystem())

    def _forget_checkpoints(self, kept: set[str]) -> None:
        selector = fs.FileSelector(f"{self._base}/{_CHECKPOINTS}", allow_not_found=True)
        for entry in self._files.get_file_info(selector):
            if entry.type == fs.FileType.Directory and entry.base_name not in kept:
                self._files.delete_dir(entry.path)
                prefix = f"{_CHECKPOINTS}/{entry.base_name}/"
                self._pushed = {name: at for name, at in self._pushed.items() if not name.startswith(prefix)}


@contextmanager
def _named(uri: str, what: str) -> Iterator[None]:
    """Errors of the storage as `RunFailed` with the URI."""
    try:
        yield
    except OSError as error:
        raise RunFailed(f"{uri} could not be {what}: {error}") from error


def _state(path: Path) -> tuple[int, int] | None:
    """Size and time of a file; None for anything else, and for what a logger has just removed."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return (found.st_size, found.st_mtime_ns) if stat.S_ISREG(found.st_mode) else None


def _file_system(uri: str, option: str) -> tuple[fs.FileSystem, str]:
    try:
        found, path = fs.FileSystem.from_uri(uri)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as unknown:
        try:
            other, path = url_to_fs(uri)
        except (ValueError, ImportError) as error:
            raise BadInput(f"{option} {uri}: neither pyarrow nor fsspec knows it: {unknown}; {error}") from error
        found = fs.PyFileSystem(fs.FSSpecHandler(other))
    return found, path
