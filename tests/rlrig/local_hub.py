"""A hub over HTTP on this machine, as far as huggingface_hub asks it for models."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from tests.places import TINY

REVISION = "0123456789abcdef0123456789abcdef01234567"
NAMED = {"own/flux": "models.flux", "own/actor": "models.actor"}
"""Keys of a run file by the model of `small_hub` that they name."""


@dataclass
class LocalHub:
    """Models by name.

    Attributes:
        asked: every request, as method and path.
        cut: bytes of a file after which its next answer breaks off, by file.
        gated: models whose files need a token.
        sent: bytes of files that were sent.
        silent_s: seconds before a file is answered.
    """

    folders: dict[str, Path]
    gated: set[str] = field(default_factory=set)
    cut: dict[str, int] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    ranges: list[str] = field(default_factory=list)
    url: str = ""
    sent: int = 0
    silent_s: float = 0.0

    def files(self, name: str) -> list[str]:
        folder = self.folders[name]
        return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture(autouse=True)
def no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """For the conftest.py of tests that look up sizes: the hub is not asked, and its cache is empty."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub-cache"))


@contextmanager
def local_hub(folders: dict[str, Path], **more: Any) -> Iterator[LocalHub]:
    """A hub on loopback that has these folders."""
    hub = LocalHub(folders, **more)

    class Handler(_Handler):
        state = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def small_hub(folder: Path) -> Iterator[LocalHub]:
    """A hub that has copies of two small models, made in `folder`, under the names of `NAMED`."""
    folders = {name: shutil.copytree(TINY / "models" / name[4:], folder / name[4:]) for name in NAMED}
    with local_hub(folders) as hub:
        yield hub


class _Handler(BaseHTTPRequestHandler):
    state: LocalHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Nothing."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path).strip("/")
        self.state.asked.append((self.command, path))
        if path.startswith("api/models/"):
            self._of_api(path.removeprefix("api/models/").split("/"))
        else:
            self._file(path)

    def _of_api(self, parts: list[str]) -> None:
        name, rest = "/".join(parts[:2]), parts[2:]
        if name not in self.state.folders:
            self._json({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
            return
        folder, files = self.state.folders[name], self.state.files(name)
        if rest[:1] == ["tree"]:
            sizes = {file: (folder / file).stat().st_size for file in files}
            self._json(
                [{"type": "file", "path": file, "size": sizes[file], "oid": _sha(folder / file)} for file in files]
            )
            return
        siblings = [{"rfilename": file, "size": (folder / file).stat().st_size, "blobId": "0"} for file in files]
        self._json({
            "id": name, "modelId": name, "sha": REVISION, "siblings": siblings, "private": False, "tags": [],
            "gated": "manual" if name in self.state.gated else False, "cardData": {"license": "apache-2.0"},
        })  # fmt: skip

    def _file(self, path: str) -> None:
        owner, model, _, _, *rest = [*path.split("/"), "", "", ""]
        name, file = f"{owner}/{model}", "/".join(rest).strip("/")
        place = self.state.folders.get(name, Path()) / file
        if name in self.state.gated and "Authorization" not in self.headers:
            self._json({}, 403, {"X-Error-Code": "GatedRepo"})
            return
        if name not in self.state.folders or not place.is_file():
            self._json({}, 404, {"X-Error-Code": "EntryNotFound"})
            return
        time.sleep(self.state.silent_s)
        content, first, status = place.read_bytes(), 0, 200
        end = len(content)
        if (wanted := self.headers.get("Range")) is not None:
            start, _, last = wanted.removeprefix("bytes=").partition("-")
            first, end, status = int(start), min(end, int(last or end) + 1), 206
            self.state.ranges.append(f"{file} from {first}")
        self.send_response(status)
        headers = {
            "ETag": f'"{_sha(place)}"', "X-Repo-Commit": REVISION, "Accept-Ranges": "bytes",
            "Content-Length": str(end - first),
        }  # fmt: skip
        if status == 206:
            headers["Content-Range"] = f"bytes {first}-{end - 1}/{len(content)}"
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            cut = self.state.cut.pop(file, None)
            body = content[first : end if cut is None else first + cut]
            self.state.sent += len(body)
            self.wfile.write(body)
            self.close_connection = cut is not None

    def _json(self, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        for key, text in {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            **(headers or {}),
        }.items():
            self.send_header(key, text)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


def _sha(path: Path) -> str:
    return hashlib.sha1(path.read_bytes(), usedforsecurity=False).hexdigest()
