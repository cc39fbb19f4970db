"""A stream as a process: one a root, ended by a signal after the mini-batch in hand."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable

import filelock

from components.object_store.store import ObjectStoreError
from components.span_example_gen.errors import SpanError
from components.span_pusher.version_folder import PushError, streamed
from pipeline.config import Config
from pipeline.operations.publication import publish
from pipeline.stream.base import BaseError
from pipeline.stream.folder import discard
from pipeline.stream.journal import Entry

_LOCK = "stream.lock"


class StreamError(RuntimeError):
    """The stream can't begin or go on; the message says why."""


def run_stream(config: Config, on_entry: Callable[[Entry], None], once: bool = False) -> None:
    """Streams until SIGTERM or SIGINT, or, with `once`, until nothing is left to read.

    The root's own lock is not taken: a nightly run neither waits for a stream nor is refused because of it.

    Raises:
      StreamError: another stream uses the root; the champion's files are gone; a span lies in two places; the disk is
        full; a bucket can't be read.
    """
    logging.getLogger("warmspan.stream").addHandler(handler := logging.StreamHandler())
    config.stream_path.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(config.stream_path / _LOCK, timeout=0, mode=0o644)
    stopping = threading.Event()
    former = {of: signal.signal(of, lambda *_: stopping.set()) for of in (signal.SIGTERM, signal.SIGINT)}
    try:
        with lock:
            from pipeline.stream.loop import Stream

            stream = Stream(config, on_entry)
            if not once:
                stream.run(stopping)
                return
            while not stopping.is_set() and stream.step() is not None:
                pass
    except filelock.Timeout:
        raise StreamError(
            f"One stream at a time may use a pipeline root. Received: {lock.lock_file} is held by another process."
        ) from None
    except (BaseError, SpanError, PushError, ObjectStoreError) as error:
        raise StreamError(str(error)) from None
    finally:
        for of, handled in former.items():
            signal.signal(of, handled)
        logging.getLogger("warmspan.stream").removeHandler(handler)


def discarded(config: Config) -> str:
    """Takes back all that was streamed; says what that was.

    Raises:
      PublicationError: the copy of the served folder in a store could not follow.
    """
    own = streamed(config.serving_path)
    discard(config)
    publish(config)
    if not own:
        return "Nothing that was streamed is in the served folder."
    return f"Taken out of the served folder: {', '.join(map(str, own))}. The nightly versions are served again."
