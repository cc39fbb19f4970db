"""The embedded server: TensorFlow Serving's REST port for laptops, tests and the demo.

The network is asyncio's (aiohttp); models compute in a pool of threads behind a bounded queue. Importing this module
does not import TensorFlow: that happens when the first model is loaded.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import re
import resource
import signal
import socket
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

from aiohttp import web
from aiohttp.http import HttpProcessingError

from serving.server.admission_control import MAX_BODY_BYTES, AdmissionControl, Refused
from serving.server.batch_scheduler import Batcher
from serving.server.idle_connections import IdleConnections
from serving.server.json_response import error_body
from serving.server.model_manager import ModelManager
from serving.server.plain_posts import PLAIN_BYTES, PlainPosts, PlainPostServer
from serving.server.process_settings import prepare_process
from serving.server.prometheus import Metrics
from serving.server.rest_api import Answer, RestApi
from serving.tfs_config.batching_config import BatchingConfig
from serving.tfs_config.model_config import ModelConfig
from serving.tfs_config.monitoring_config import PROMETHEUS_PATH

DEFAULT_PORT = 8501
IDLE_SECONDS = 75.0
NEVER_SECONDS = 1e9
STOP_SECONDS = 10.0

Tell = Callable[[Answer], object]

_CORS_HEADERS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "POST, GET",
    "Access-Control-Allow-Headers": "Content-Type",
}
_NOT_FOUND = (
    b"<HTML><HEAD>\n<TITLE>404 Not Found</TITLE>\n</HEAD><BODY>\n<H1>Not Found</H1>\n"
    b"<P>Models are served under /v1/models/.</P>\n</BODY></HTML>\n"
)

_log = logging.getLogger(__name__)
# What is no HTTP gets its 400; a stack trace for each would let anybody fill the log.
_http_log = logging.getLogger(f"{__name__}.http")
_http_log.addFilter(lambda record: not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError)))


class RestServer:
    """Serves models over HTTP, on 127.0.0.1 unless told otherwise.

    In a test or a notebook: `with RestServer({"shop": "run/serving/shop"}) as server: requests.get(server.url + ...)`.
    In a program of its own: `RestServer(...).serve_forever()`, which ends at SIGINT or SIGTERM after the requests in
    flight.
    """

    def __init__(
        self,
        models: Mapping[str, str | os.PathLike[str]] | Sequence[ModelConfig] | str | os.PathLike[str],
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        poll_seconds: float = 1.0,
        load_retry_seconds: float = 60.0,
        threads: int | None = None,
        max_pending: int = 256,
        max_body_bytes: int = MAX_BODY_BYTES,
        timeout_seconds: float = 30.0,
        cors: bool = False,
        metrics_path: str | None = PROMETHEUS_PATH,
        batching: BatchingConfig | None = None,
    ) -> None:
        """Reads the settings; nothing is loaded and nothing listens yet.

        Args:
          models: model name to the folder of its versions; or a list of `ModelConfig`; or the path of a models.config,
            which is read again when it changes.
          host: the address to listen on.
          port: the port; 0 takes a free one, see `port` after `start`.
          poll_seconds: how often the folders are looked at for new versions.
          load_retry_seconds: how long a version that could not be loaded waits for its next attempt.
          threads: how many requests compute at once. Default: twice the number of cores, at least four.
          max_pending: how many requests may wait or compute; one more gets 503 at once.
          max_body_bytes: of a request, zipped or not; more gets 413.
          timeout_seconds: how long the graph may take for one request; longer is 504.
          cors: whether to answer preflights and send the headers that let any web page call.
          metrics_path: where Prometheus finds the metrics; None for nowhere.
          batching: how concurrent requests are computed together; None for each by itself.

        Raises:
          ModelConfigError: the models.config can't be used.
        """
        self.metrics = Metrics()
        self.manager = ModelManager(
            _configs(models),
            metrics=self.metrics,
            poll_seconds=poll_seconds,
            load_retry_seconds=load_retry_seconds,
            timeout_ms=int(timeout_seconds * 1000),
        )
        self.host = host
        self.port = port
        self._batcher = None if batching is None else Batcher(batching, self.metrics, timeout_seconds)
        self._api = RestApi(self.manager, self.metrics, self._batcher)
        self._threads = threads or max(4, 2 * (os.cpu_count() or 1))
        self._admission = AdmissionControl(max_pending, max_body_bytes)
        self._cors = cors
        self._cors_headers = _CORS_HEADERS if cors else {}
        self._metrics_path = metrics_path
        self._pool: ThreadPoolExecutor | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._runner: web.ServerRunner | None = None
        self._watch: asyncio.Task[None] | None = None
        self._idle = IdleConnections(IDLE_SECONDS)
        # Answers of other threads, and whether the loop knows that there are some.
        self._answers: deque[tuple[Tell, Answer]] = deque()
        self._awake = False

    @property
    def url(self) -> str:
        """`http://host:port`, once started."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def start(self) -> RestServer:
        """Loads the versions that are there, then listens. Returns when requests can be sent.

        Raises:
          OSError: the port is taken, or the host is not one of this machine.
        """
        if self._thread is not None:
            raise RuntimeError("The server runs already.")
        self.manager.start()
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="rest")
        if self._batcher is not None:
            self._batcher.start()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="rest-server", daemon=True)
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()
        except BaseException:
            self.stop()
            raise
        _log.info("Serving on %s", self.url)
        return self

    def stop(self) -> None:
        """Takes no more requests, lets those in flight end, and unloads the models."""
        if self._loop is None or self._thread is None or self._pool is None:
            return
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        # What still computes tells the loop when it is done.
        self._pool.shutdown()
        if self._batcher is not None:
            self._batcher.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self.manager.stop()
        self._loop = self._thread = self._pool = self._runner = self._watch = None

    def serve_forever(self) -> None:
        """Starts, and blocks until SIGINT or SIGTERM. Call it from the main thread."""
        # Slow clients hold connections, not threads: allow as many as this process may have.
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        prepare_process()
        # Not an Event: a handler runs between any two steps of this thread, and would wait for the lock that it holds.
        receiver, sender = socket.socketpair()
        sender.setblocking(False)
        ending = (signal.SIGINT, signal.SIGTERM)
        before = {signal_number: signal.signal(signal_number, lambda *_: None) for signal_number in ending}
        woken_before = signal.set_wakeup_fd(sender.fileno())
        try:
            self.start()
            # The interpreter is the server's alone here. What was loaded stays: a collection that walks through all of
            # TensorFlow's objects would stop every request for a third of a second.
            gc.collect()
            gc.freeze()
            while receiver.recv(1)[0] not in ending:
                pass
        finally:
            self.stop()
            signal.set_wakeup_fd(woken_before)
            for signal_number, handler in before.items():
                signal.signal(signal_number, handler)
            sender.close()
            receiver.close()

    def __enter__(self) -> RestServer:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()

        def request_of(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
            limit = self._admission.max_body_bytes
            return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=limit)

        # No application around the handler: its router and signals would cost as much again as all else of a request.
        # TF Serving ignores every encoding but gzip, which is undone here with a limit.
        server = PlainPostServer(
            *(self._handle, self),
            headers="".join(f"{name}: {value}\r\n" for name, value in self._cors_headers.items()).encode(),
            request_factory=request_of,
            access_log=None,
            auto_decompress=False,
            logger=_http_log,
            # Connections without a request are closed by `IdleConnections`.
            keepalive_timeout=NEVER_SECONDS,
        )
        self._runner = web.ServerRunner(server, shutdown_timeout=STOP_SECONDS)
        self._watch = asyncio.create_task(self._idle.watch(server))
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.host, self.port, backlog=1024)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def _close(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.Response:
        self._idle.begin(request.protocol)
        try:
            return await self._respond(request)
        finally:
            self._idle.end(request.protocol)

    def begin_plain(self, connection: PlainPosts, path: str, body: bytes, tell: Tell) -> None:
        """Answers a POST that was read whole; on the loop."""
        self._idle.begin(connection)
        try:
            self._admission.enter(len(body))
        except Refused as refused:
            # As large as if it had been let in: `end_plain` gives that back.
            self._admission.pending += 1
            self._admission.held_bytes += len(body)
            tell(refused.answer)
        else:
            self._ask(path, body, False, tell)

    def end_plain(self, connection: PlainPosts, size: int) -> None:
        """Gives back what an answered POST held."""
        self._idle.end(connection)
        self._admission.leave(size)

    async def _respond(self, request: web.BaseRequest) -> web.Response:
        path = _path(request)
        if self._metrics_path is not None and path.partition("?")[0] == self._metrics_path:
            if path != self._metrics_path:
                return web.Response(status=400, text=f"Unexpected path: {path}. Should be {self._metrics_path}")
            return web.Response(text=self.metrics.page(), content_type="text/plain")
        if path[:4].lower() != "/v1/":
            return web.Response(status=404, body=_NOT_FOUND, content_type="text/html")
        answer = await self._answer(request, path)
        headers = {"Content-Type": answer.content_type, **self._cors_headers}
        if answer.status == 503:
            headers["Retry-After"] = "1"
        return web.Response(status=answer.status, body=answer.body, headers=headers)

    async def _answer(self, request: web.BaseRequest, path: str) -> Answer:
        if request.method == "OPTIONS" and self._cors:
            if re.match("https?://", request.headers.get("Origin", "")):
                return Answer(200, b"")
            return Answer(400, error_body("Origin header is missing in CORS preflight"))
        if request.method != "POST":
            # What no model computes is answered at once, also when the queue is full.
            return self._api.answer(request.method, path)
        try:
            async with self._admission.admit(request) as body:
                return await self._compute(path, body, "gzip" in request.headers.get("Content-Encoding", ""))
        except Refused as refused:
            return refused.answer

    async def _compute(self, path: str, body: bytes, gzipped: bool) -> Answer:
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        def settle(answer: Answer) -> None:
            if not future.done():
                future.set_result(answer)

        self._ask(path, body, gzipped, settle)
        return await future

    def _ask(self, path: str, body: bytes, gzipped: bool, tell: Tell) -> None:
        """Has a POST computed by other threads; `tell` gets the answer on the loop, where this is called."""
        assert self._pool is not None
        if self._batcher is not None and not gzipped and len(body) <= PLAIN_BYTES:
            self._submit(path, body, tell)
        else:
            self._pool.submit(self._ask_in_thread, path, body, gzipped, tell)

    def _ask_in_thread(self, path: str, body: bytes, gzipped: bool, tell: Tell) -> None:
        try:
            plain = self._admission.unzip(body) if gzipped else body
        except Refused as refused:
            self._deliver(tell, refused.answer)
            return
        if self._batcher is None:
            self._deliver(tell, self._api.answer("POST", path, plain))
        else:
            self._submit(path, plain, tell)

    def _submit(self, path: str, body: bytes, tell: Tell) -> None:
        self._api.submit(path, body, lambda answer: self._deliver(tell, answer))

    def _deliver(self, tell: Tell, answer: Answer) -> None:
        # The answers of a batch come one after the other: the loop is woken once for all that are there.
        self._answers.append((tell, answer))
        if not self._awake and self._loop is not None:
            self._awake = True
            self._loop.call_soon_threadsafe(self._hand_out)

    def _hand_out(self) -> None:
        self._awake = False
        while self._answers:
            tell, answer = self._answers.popleft()
            try:
                tell(answer)
            except Exception:
                # The others must get theirs all the same.
                _log.exception("An answer could not be written")


def _configs(models: object) -> Sequence[ModelConfig] | Path:
    if isinstance(models, str | os.PathLike):
        return Path(models)
    if isinstance(models, Mapping):
        return [ModelConfig(name, Path(path)) for name, path in models.items()]
    return list(models)  # type: ignore[call-overload]


def _path(request: web.BaseRequest) -> str:
    # As it was sent: a normalised path would let `..` and percent signs reach where the contract refuses them. The
    # query stays on it, as in TF Serving, which therefore finds no model under an address that has one.
    path = request.raw_path
    return path if path.startswith("/") else re.sub("^https?://[^/]*", "", path)
