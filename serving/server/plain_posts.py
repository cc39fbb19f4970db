"""The request that nearly all are, answered from the bytes that were read: a small, plain POST for a model.

aiohttp makes of every request an object, two tasks and a response with dictionaries of headers, which takes three times
as long as to read and to write the bytes. A connection whose requests are plain does without. Whatever else arrives on
it (a large body, one in chunks or zipped, a GET, an odd header) is given to aiohttp, bytes as they came, and so is all
that follows on that connection.
"""

from __future__ import annotations

import asyncio
import functools
import re
import time
from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Protocol

from aiohttp import web
from aiohttp.http import SERVER_SOFTWARE

from serving.server.rest_api import Answer

# Of a request, head and body; reading that much takes less time than another thread takes to get hold of it.
PLAIN_BYTES = 1 << 14
_HEAD_BYTES = 1 << 10
# How long a connection waits for the rest of a request: most clients write head and body one after the other.
_REST_SECONDS = 0.05
_FIRST_LINE = re.compile(rb"POST (/v1/models/[\w/.~%-]+:(?:predict|classify|regress)) HTTP/1\.1", re.ASCII)
_HEADER = re.compile(rb"([\w-]+):[ \t]*([\t -~]*?)[ \t]*", re.ASCII)
# What changes how a body is read, or what is done with the connection.
_NOT_PLAIN = {b"connection", b"content-encoding", b"expect", b"trailer", b"transfer-encoding", b"upgrade"}


class Asked(Protocol):
    """The server behind the connections; its methods are called on the loop."""

    def begin_plain(self, connection: Any, path: str, body: bytes, tell: Callable[[Answer], None]) -> None:
        """Answers a POST: `tell` gets the answer on the loop, here or later."""

    def end_plain(self, connection: Any, size: int) -> None:
        """To be called when the answer to a request with a body of `size` bytes is written."""


@functools.lru_cache(1024)
def plain_head(head: bytes) -> tuple[str, int] | None:
    """Path and Content-Length of the head of a plain POST, up to the empty line and with it; None for all else."""
    first, *lines = head[:-4].split(b"\r\n")
    if (request := _FIRST_LINE.fullmatch(first)) is None:
        return None
    headers: dict[bytes, bytes] = {}
    for line in lines:
        if (header := _HEADER.fullmatch(line)) is None:
            return None
        name = header[1].lower()
        if name in headers or (name in _NOT_PLAIN and (name, header[2].lower()) != (b"connection", b"keep-alive")):
            return None
        headers[name] = header[2]
    length = headers.get(b"content-length", b"")
    if b"host" not in headers or not re.fullmatch(rb"[0-9]{1,9}", length):
        return None
    return request[1].decode(), int(length)


class PlainPosts(web.RequestHandler):
    """aiohttp's handler of a connection, which the connection passes by for as long as its requests are plain."""

    def __init__(self, manager: web.Server, asked: Asked, headers: bytes, **settings: Any) -> None:
        """`headers`: lines that every answer has, besides those that HTTP asks for."""
        super().__init__(manager, **settings)
        self._asked = asked
        self._headers = headers
        self._plain = True
        # What came and is not answered yet; more than one request only of a client that does not wait for its answers.
        self._received = b""
        self._size: int | None = None  # of the body that is being answered
        self._unread = False  # the client does not read its answers
        self._last = False
        self._rest: asyncio.TimerHandle | None = None
        self._idle: asyncio.Future[None] | None = None

    @property
    def answering(self) -> bool:
        """Whether a plain request is being answered."""
        return self._size is not None

    def data_received(self, data: bytes) -> None:
        if not self._plain or self._last:
            super().data_received(data)
            return
        self._received = self._received + data if self._received else data
        if self.answering or self._unread:
            if self.transport is not None:
                self.transport.pause_reading()
        else:
            self._go_on()

    def _go_on(self) -> None:
        """Begins the request that was received, waits for its rest, or lets aiohttp see to it."""
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None
        received = self._received
        body_at = received.find(b"\r\n\r\n", 0, _HEAD_BYTES) + 4
        head = plain_head(received[:body_at]) if body_at >= 4 else None
        if head is None or body_at + head[1] > PLAIN_BYTES:
            self._give_up()
            return
        path, size = head
        if len(received) < body_at + size:
            self._rest = self._loop.call_later(_REST_SECONDS, self._give_up)
            return
        self._received = received[body_at + size :]
        self._size = size
        self._asked.begin_plain(self, path, received[body_at : body_at + size], self._answer)

    def _give_up(self) -> None:
        self._plain, self._rest = False, None
        received, self._received = self._received, b""
        super().data_received(received)

    def _answer(self, answer: Answer) -> None:
        assert self._size is not None
        size, self._size = self._size, None
        self._asked.end_plain(self, size)
        if self.transport is not None:
            self.transport.write(_head(answer, self._headers) + answer.body)
        if self._idle is not None and not self._idle.done():
            self._idle.set_result(None)
        if self._last:
            super().close()
        else:
            self._next()

    def _next(self) -> None:
        if not self._plain or self.answering or self._unread or self.transport is None:
            return
        self.transport.resume_reading()
        if self._received:
            # Not from within the last one: a client may have sent hundreds, and each may be refused at once.
            self._loop.call_soon(self._go_on_if_free)

    def _go_on_if_free(self) -> None:
        if self._received and not (self.answering or self._unread or self._last or self.transport is None):
            self._go_on()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread = True

    def resume_writing(self) -> None:
        super().resume_writing()
        self._unread = False
        self._next()

    def connection_lost(self, error: BaseException | None) -> None:
        if self._rest is not None:
            self._rest.cancel()
        super().connection_lost(error)

    def close(self) -> None:
        """Takes no more requests; what is being answered still is."""
        self._last = True
        if not self.answering:
            super().close()

    async def shutdown(self, timeout: float | None = 15.0) -> None:
        """Closes the connection, at the latest after `timeout` seconds when a request is being answered."""
        if self.answering:
            self._idle = self._loop.create_future()
            await asyncio.wait([self._idle], timeout=timeout)
        await super().shutdown(timeout)


class PlainPostServer(web.Server):
    """aiohttp's server, whose connections answer plain requests without it."""

    def __init__(self, handler: Any, asked: Asked, headers: bytes, *, request_factory: Any, **settings: Any) -> None:
        super().__init__(handler, request_factory=request_factory)
        self._connect = functools.partial(PlainPosts, self, asked, headers, loop=asyncio.get_running_loop(), **settings)

    def __call__(self) -> web.RequestHandler:
        return self._connect()


def _head(answer: Answer, headers: bytes) -> bytes:
    return b"%bContent-Length: %d\r\n%b" % (
        _first_lines(answer.status, answer.content_type, headers),
        len(answer.body),
        _last_lines(int(time.time())),
    )


@functools.lru_cache(64)
def _first_lines(status: int, content_type: str, headers: bytes) -> bytes:
    retry = b"Retry-After: 1\r\n" if status == 503 else b""
    first = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: {content_type}\r\n"
    return first.encode() + headers + retry


@functools.lru_cache(1)
def _last_lines(second: int) -> bytes:
    return f"Date: {formatdate(second, usegmt=True)}\r\nServer: {SERVER_SOFTWARE}\r\n\r\n".encode()
