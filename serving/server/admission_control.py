"""What a request may take before it is computed: bytes and seconds for its body, and a place among those that wait."""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from collections.abc import AsyncIterator, Iterator

from aiohttp import web

from serving.server.json_response import error_body
from serving.server.rest_api import Answer

# The parser lets nothing else run meanwhile: this much takes it half a second.
MAX_BODY_BYTES = 16 << 20
# As many of the largest bodies are held at once; one more large one gets 503.
MAX_HELD_BODIES = 8
BODY_SECONDS = 60.0


class Refused(Exception):
    """The request is not computed; `answer` says why."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.answer = Answer(status, error_body(reason))


class AdmissionControl:
    """Lets requests in as long as there is room, and counts what they hold. Lives on the server's loop.

    Attributes:
      max_pending: how many requests may wait or compute at once.
      max_body_bytes: of a body, zipped or not.
      pending: how many wait or compute.
      held_bytes: of the bodies that are being read or computed.
    """

    def __init__(self, max_pending: int, max_body_bytes: int) -> None:
        self.max_pending = max_pending
        self.max_body_bytes = max_body_bytes
        self.pending = 0
        self.held_bytes = 0

    @contextlib.asynccontextmanager
    async def admit(self, request: web.BaseRequest) -> AsyncIterator[bytes]:
        """Reads a request's body, as it was sent; its bytes and its place are given back at the end of the block.

        Raises:
          Refused: 413, the body is too large; 408, it does not arrive in time; 503, the server is full.
        """
        with HeldBytes(self) as held:
            body = await self._read(request, held)
            # Counted once its body is here, so that slow clients can't fill the queue.
            with self.place():
                yield body

    @contextlib.contextmanager
    def place(self) -> Iterator[None]:
        """A place among the requests that wait or compute.

        Raises:
          Refused: 503, all are taken.
        """
        self.enter(0)
        try:
            yield
        finally:
            self.leave(0)

    def enter(self, size: int) -> None:
        """A place, and `size` bytes for a body that is here already, until `leave`.

        Raises:
          Refused: as `admit`, but for a body that does not arrive.
        """
        if size > self.max_body_bytes:
            raise self.too_large()
        if self.held_bytes + size > MAX_HELD_BODIES * self.max_body_bytes:
            raise self.too_many_bytes()
        if self.pending >= self.max_pending:
            raise Refused(503, f"{self.max_pending} requests are waiting already. Try again in a second.")
        self.pending += 1
        self.held_bytes += size

    def leave(self, size: int) -> None:
        """Gives back what `enter` took."""
        self.pending -= 1
        self.held_bytes -= size

    def unzip(self, body: bytes) -> bytes:
        """What a gzipped body holds; nothing where it is no gzip. May be called from any thread.

        Raises:
          Refused: 413, it is too large.
        """
        unzip = zlib.decompressobj(wbits=31)
        try:
            plain = unzip.decompress(body, self.max_body_bytes)
        except zlib.error:
            # TF Serving takes what can't be unzipped for an empty body, and says so.
            return b""
        if unzip.unconsumed_tail:
            raise self.too_large()
        return plain

    def too_large(self) -> Refused:
        """The refusal of a body that is too large."""
        return Refused(413, f"A request body must be at most {self.max_body_bytes} bytes.")

    def too_many_bytes(self) -> Refused:
        """The refusal of a body for which all bodies together leave no room."""
        return Refused(503, "The server holds as many large requests as it can. Try again in a second.")

    async def _read(self, request: web.BaseRequest, held: HeldBytes) -> bytes:
        announced = request.content_length
        held.add(announced or 0)
        held.check()
        try:
            # A timer for each of many small bodies, which came with their headers, would cost more than reading them.
            if request.content.is_eof():
                body = await request.read()
                held.add(len(body) if announced is None else 0)
                return body
            if request.headers.get("Expect", "").lower() == "100-continue" and request.transport is not None:
                # curl waits a second for this before it sends a body of more than a MB.
                request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            reading = request.read() if announced is not None else self._read_chunks(request, held)
            return await asyncio.wait_for(reading, BODY_SECONDS)
        except web.HTTPRequestEntityTooLarge:
            raise self.too_large() from None
        except asyncio.TimeoutError:
            raise Refused(408, f"The request body did not arrive within {BODY_SECONDS:g} seconds.") from None

    async def _read_chunks(self, request: web.BaseRequest, held: HeldBytes) -> bytes:
        # A body in chunks does not say how long it will be: it is counted as it comes.
        body = bytearray()
        async for part in request.content.iter_any():
            body += part
            held.add(len(part))
            held.check()
        return bytes(body)


class HeldBytes:
    """The bytes of one body, which are given back at the end of a `with` block."""

    def __init__(self, control: AdmissionControl) -> None:
        self._control = control
        self._count = 0

    def add(self, count: int) -> None:
        """Holds `count` more bytes."""
        self._count += count
        self._control.held_bytes += count

    def check(self) -> None:
        """Looks whether what is held is allowed.

        Raises:
          Refused: 413, this body is too large; 503, all bodies together are.
        """
        limit = self._control.max_body_bytes
        if self._count > limit:
            raise self._control.too_large()
        if self._control.held_bytes > MAX_HELD_BODIES * limit:
            raise self._control.too_many_bytes()

    def __enter__(self) -> HeldBytes:
        return self

    def __exit__(self, *error: object) -> None:
        self._control.held_bytes -= self._count
