"""Closes connections on which nothing whole arrives, so that slow or silent clients can't keep them all."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from aiohttp import web


class IdleConnections:
    """Knows which connections of a server have a request under way. Lives on the server's loop."""

    def __init__(self, seconds: float) -> None:
        """A connection without a request for `seconds` is closed, in the middle of a request's head too."""
        self._seconds = seconds
        self._busy: set[Any] = set()
        self._idle_since: dict[Any, float] = {}

    def begin(self, connection: web.RequestHandler) -> None:
        """To be called with a request's head."""
        self._busy.add(connection)
        self._idle_since.pop(connection, None)

    def end(self, connection: web.RequestHandler) -> None:
        """To be called with its answer."""
        self._busy.discard(connection)

    async def watch(self, server: web.Server) -> None:
        """Looks at the connections now and then, until it is cancelled."""
        while True:
            await asyncio.sleep(self._seconds / 4)
            now = time.monotonic()
            idle = [connection for connection in server.connections if connection not in self._busy]
            self._idle_since = {connection: self._idle_since.get(connection, now) for connection in idle}
            for connection, since in list(self._idle_since.items()):
                if now - since >= self._seconds:
                    connection.force_close()
                    del self._idle_since[connection]
