"""Event files as they land: which there are to read, each once, and none that is still being written."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import time
from collections.abc import Collection, Mapping

from components.data_files import data_files
from components.object_store.files import status
from components.object_store.store import MissingError
from components.span_example_gen.driver import newest_delivery
from components.span_example_gen.fingerprint import DigestCache
from pipeline.config import Config

_log = logging.getLogger("warmspan.stream")


@dataclasses.dataclass(frozen=True)
class LandedFile:
    """A whole file of a span: its name below the folder of all spans, and a digest of what is in it."""

    span: int
    name: str
    path: str
    digest: str


class RedeliveredError(RuntimeError):
    """A span from which events were learned was delivered again: the copy has learned what no longer counts."""


class Incoming:
    """The folder of all spans, looked at again and again."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._digests = DigestCache(None)
        self._seen: dict[str, tuple[object, float]] = {}
        self._warned: set[str] = set()

    def look(
        self, after: int, left_out: Collection[int], read: Mapping[str, str], unfinished: Collection[str] = ()
    ) -> list[LandedFile]:
        """Files of spans after `after` that were not read to their end, in the order of spans and names.

        Args:
          after: the last span that the champion has learned.
          left_out: later spans that are not to be learned.
          read: the digest of each file that was read, by name.
          unfinished: names of those of which a part is left.

        Raises:
          RedeliveredError: of a span that was read there is a newer version.
          SpanError: a span lies in two places.
        """
        data = self._config.data
        every = [file for file in data_files(data.path, data.pattern) if file.span > after]
        landed: list[LandedFile] = []
        for span, of_span in itertools.groupby(sorted(every, key=lambda file: file.span), lambda file: file.span):
            if span in left_out:
                continue
            delivered = list(of_span)
            newest, version = newest_delivery(delivered)
            names = {file.name for file in newest}
            if again := next((file.name for file in delivered if file.name in read and file.name not in names), None):
                raise RedeliveredError(f"Version {version} of span {span} takes the place of {again}.")
            for file in sorted(newest, key=lambda file: file.name):
                if not self._settled(file.path):
                    continue
                digest = self._digests.digest(file.path)
                if read.get(file.name, digest) != digest:
                    self._warn_changed(file.name)
                elif file.name not in read or file.name in unfinished:
                    landed.append(LandedFile(span, file.name, file.path, digest))
        return landed

    def _settled(self, path: str) -> bool:
        """Whether a file has been as it is for a while: what is written in place may be read in its middle."""
        try:
            of_file = status(path)
        except (FileNotFoundError, MissingError):
            return False
        stamp, now = of_file.stamp, time.monotonic()
        if self._seen.get(path, (None, 0.0))[0] != stamp:
            self._seen[path] = stamp, now
        wait = self._config.stream.settle_seconds
        return now - self._seen[path][1] >= wait or time.time() - of_file.modified >= wait

    def _warn_changed(self, name: str) -> None:
        if name not in self._warned:
            self._warned.add(name)
            _log.warning(
                "%s has changed since it was read, and a stream reads a file once. Deliver further events in files of "
                "their own, renamed into place when they are whole. The nightly run reads all of it.",
                name,
            )
