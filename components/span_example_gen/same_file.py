"""Whether a span was given a file of an earlier one: an export that went to the wrong day, or ran twice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from components.data_files import DataFile
from components.object_store.files import status
from components.span_example_gen.errors import SpanError
from components.span_example_gen.files import with_rows
from components.span_example_gen.fingerprint import DigestCache
from components.span_example_gen.readers.registry import plan_files


def refuse_same_file(files: Iterable[DataFile], earlier: Iterable[DataFile], format: str, cache: DigestCache) -> None:
    """Compares what is in the files of a span with what is in those of earlier spans. One without a row is no fault.

    Args:
      files: the span's.
      earlier: those of earlier spans.
      format: of all.
      cache: of their digests. Only files of one size are read.

    Raises:
      SpanError: one has rows and is, byte for byte, one of an earlier span.
    """
    by_size = defaultdict(list)
    for file in earlier:
        by_size[status(file.path).size].append(file)
    for file in files:
        for other in by_size.get(status(file.path).size, ()):
            if cache.digest(file.path) == cache.digest(other.path) and _has_rows(file, format):
                raise SpanError(
                    f"A span must have files of its own. Received: {file.name}, byte for byte {other.name}, a file of "
                    "an earlier span. Deliver the span again, or remove the file. With `data.late: accept` what "
                    "an earlier span has brought is left out, event by event."
                )


def _has_rows(file: DataFile, format: str) -> bool:
    return bool(plan_files(format, with_rows([(file.path, file.name)]), ()))
