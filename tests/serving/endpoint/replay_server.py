"""A real HTTP server on the loopback interface that replays recorded answers of an OpenAI-compatible endpoint."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Replay:
    """One recorded response. `delay_s` passes before it, `gap_s` between two bytes of its body."""

    status: int = 200
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    gap_s: float = 0.0


def completion(text: Any, tokens: tuple[int, int] | None = (100, 7), finish: str = "stop", **message: Any) -> Replay:
    """A chat completion with this text, as vLLM and OpenAI answer."""
    body: dict[str, Any] = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "recorded",
        "choices": [
            {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": text, **message}}
        ],
    }
    if tokens is not None:
        body["usage"] = {
            "prompt_tokens": tokens[0],
            "completion_tokens": tokens[1],
            "total_tokens": sum(tokens),
        }
    return Replay(body=json.dumps(body), headers={"Content-Type": "application/json"})


def failure(status: int, message: str, headers: dict[str, str] | None = None, **fields: Any) -> Replay:
    """An error as OpenAI-compatible endpoints report it."""
    body = json.dumps({"error": {"message": message, "type": "error", **fields}})
    return Replay(status, body, {"Content-Type": "application/json", **(headers or {})})


@dataclass
class ReplayServer:
    """What was asked, in order, and the most requests that were under way at the same time."""

    base_url: str
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    most_at_once: int = 0
    under_way: int = 0

    def texts(self) -> list[str]:
        """The texts of the questions."""
        return [text_of(request) for request in self.requests]


def text_of(request: dict[str, Any]) -> str:
    (message,) = request["messages"]
    return "".join(part["text"] for part in message["content"] if part["type"] == "text")


@contextmanager
def replaying(answer: Callable[[dict[str, Any], int], Replay]) -> Iterator[ReplayServer]:
    """Serve `answer(request, number of requests before it)` until the block ends."""
    lock = threading.Lock()
    stopping = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                number = len(server.requests)
                server.requests.append(request)
                server.headers.append({name.lower(): value for name, value in self.headers.items()})
                server.under_way += 1
                server.most_at_once = max(server.most_at_once, server.under_way)
            try:
                replay = answer(request, number)
                stopping.wait(replay.delay_s)
                self._send(replay)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True  # the client stopped waiting, which some tests are about
            finally:
                with lock:
                    server.under_way -= 1

        def _send(self, replay: Replay) -> None:
            body = replay.body.encode()
            self.send_response(replay.status)
            for name, value in replay.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if not replay.gap_s:
                self.wfile.write(body)
            for byte in body if replay.gap_s else b"":
                if stopping.is_set():
                    return
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
                time.sleep(replay.gap_s)

        def log_message(self, *_: Any) -> None: ...

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    server = ReplayServer(f"http://127.0.0.1:{http.server_address[1]}/v1")
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        stopping.set()
        http.shutdown()
        http.server_close()
        thread.join(timeout=5)
