import asyncio
from collections.abc import AsyncGenerator

import pytest
from starlette.requests import ClientDisconnect

from studio.api.event_stream import EventStream, server_sent, until_gone


class Connection:
    """The two ends of one HTTP connection as an ASGI server gives them. The client goes after `reads` parts."""

    def __init__(self, reads: int, fails: bool = False) -> None:
        self.reads, self.fails = reads, fails
        self.sent: list[bytes] = []
        self.closed = 0
        self._gone = asyncio.Event()

    async def receive(self) -> dict:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict) -> None:
        if self.fails:
            raise OSError("connection reset")
        self.sent.append(message.get("body", b"start"))
        if len(self.sent) > self.reads:
            self._gone.set()
            await asyncio.sleep(60)

    async def close(self) -> None:
        self.closed += 1


async def _events(count: int) -> AsyncGenerator[bytes, None]:
    for k in range(count):
        yield b"%d" % k


def test_all_events_are_sent_and_then_closed() -> None:
    async def run() -> Connection:
        connection = Connection(99)
        await EventStream(_events(3), connection.close)({}, connection.receive, connection.send)
        return connection

    connection = asyncio.run(run())
    assert connection.sent == [b"start", b"0", b"1", b"2", b""]
    assert connection.closed == 1


@pytest.mark.parametrize(("reads", "fails", "error"), [(2, False, ClientDisconnect), (0, True, OSError)])
def test_a_client_that_goes_closes_the_source(reads: int, fails: bool, error: type[Exception]) -> None:
    async def run() -> Connection:
        connection = Connection(reads, fails)
        with pytest.raises(error):
            await EventStream(_events(9), connection.close)({}, connection.receive, connection.send)
        return connection

    assert asyncio.run(run()).closed == 1


def test_work_ends_before_its_cancellation_is_told() -> None:
    freed = []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.05)
            freed.append(True)

    async def receive() -> dict:
        await asyncio.sleep(0.01)
        return {"type": "http.disconnect"}

    async def run() -> None:
        with pytest.raises(ClientDisconnect):
            await until_gone(receive, work())
        assert freed == [True]

    asyncio.run(run())


def test_data_stays_on_one_line() -> None:
    event = server_sent("a.turn", {"text": "two\nlines\r\u2028"})
    assert event == b'event: a.turn\ndata: {"text": "two\\nlines\\r\\u2028"}\n\n'
