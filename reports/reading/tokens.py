"""What tokens read, by a tokenizer that anybody may have written: it is loaded in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from pathlib import Path
from threading import Lock, Timer
from typing import Any

from scenes.harmless_text import harmless

SECONDS, BYTES = 3, 768 << 20  # of the process; a tokenizer of 150,000 tokens takes a second and 300 MB
LARGEST_FILE, MOST_TOKENS = 1 << 26, 100_000
_LONGEST, _MOST_ANSWERED = 200, 1 << 24
_KEPT = 4  # tokenizers
_PROCESS = Path(__file__).with_name("tokenizer_process.py")
_ENVIRONMENT = {"TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}


class NoTokenizer(ValueError):
    """A tokenizer's file cannot be used; the message tells no path."""


class Tokenizers:
    """Texts of tokens by tokenizer, kept as long as its file stays as it is. Safe to use from several threads."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[Any, ...], dict[int, str] | str] = OrderedDict()
        self._lock = Lock()

    def texts(self, path: Path, token_ids: Sequence[int]) -> list[str]:
        """The text of each token, of a special one its name; empty where the tokenizer does not know it.

        Raises:
            NoTokenizer: the file holds none, or one that takes too long or too much memory.
        """
        written = path.stat()
        key = (str(path), written.st_mtime_ns, written.st_size)
        with self._lock:  # one process at a time
            known = self._known.setdefault(key, {})
            self._known.move_to_end(key)
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
            if isinstance(known, dict):
                try:
                    self._learn(path, written.st_size, known, token_ids)
                except NoTokenizer as error:
                    known = self._known[key] = str(error)
        if isinstance(known, str):
            raise NoTokenizer(known)
        return [known.get(token, "") for token in token_ids]

    def _learn(self, path: Path, size: int, known: dict[int, str], token_ids: Iterable[int]) -> None:
        new = list(dict.fromkeys(token for token in token_ids if token not in known))[:MOST_TOKENS]
        if not new:
            return
        if size > LARGEST_FILE:
            raise NoTokenizer(f"tokenizer.json: it has {size} bytes; {LARGEST_FILE} are read at most")
        if len(known) > MOST_TOKENS:
            known.clear()
        known.update(zip(new, map(harmless, _asked(path, new)), strict=True))


def _asked(path: Path, token_ids: Sequence[int]) -> list[str]:
    """What the process answers."""
    asked = {"path": str(path), "ids": token_ids, "seconds": SECONDS, "bytes": BYTES, "longest": _LONGEST}
    command = [sys.executable, "-P", "-s", str(_PROCESS)]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **_ENVIRONMENT},
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        deadline = Timer(SECONDS, process.kill)
        deadline.start()
        try:
            process.stdin.write(json.dumps(asked).encode())
            process.stdin.close()
            answer = process.stdout.read(_MOST_ANSWERED)
        except BrokenPipeError:
            answer = b""
        finally:
            process.kill()
            deadline.cancel()
    try:
        texts = json.loads(answer)
    except ValueError:
        texts = None
    if not isinstance(texts, list) or len(texts) != len(token_ids) or not all(isinstance(text, str) for text in texts):
        raise NoTokenizer("tokenizer.json: it holds no tokenizer that can be loaded within its limits")
    return texts


TOKENIZERS = Tokenizers()
