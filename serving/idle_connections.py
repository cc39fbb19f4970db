"""Closes connections on which nothing whole arrives, so that slow or silent clients can't keep them all."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from typing import Any

from aiohttp import web


class IdleConnections:
    """Knows which connections of a server have a request under way. Lives on the server's loop."""

    def __init__(self, seconds: float) -> None:
        """A connection without a request for `seconds` is closed, in the middle of a request's head too."""
        self._seconds = seconds
        self._busy: set[Any] = set()
        self._idle_since: dict[Any, float] = {}

    @contextlib.contextmanager
    def request(self, request: web.BaseRequest) -> Iterator[None]:
        """For the time between a request's head and its answer."""
        connection = request.protocol
        self._busy.add(connection)
        self._idle_since.pop(connection, None)
        try:
            yield
        finally:
            self._busy.discard(connection)

    async def watch(self, server: web.Server) -> None:
        """Looks at the connections now and then, until it is cancelled."""
        while True:
            await asyncio.sleep(self._seconds / 4)
            now = time.monotonic()
            idle = [one for one in server.connections if one not in self._busy]
            self._idle_since = {one: self._idle_since.get(one, now) for one in idle}
            for connection, since in list(self._idle_since.items()):
                if now - since >= self._seconds:
                    connection.force_close()
                    del self._idle_since[connection]
