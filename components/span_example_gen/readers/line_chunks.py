"""Lines of text files: opened plain or gzipped, cut at line ends into pieces that are read on their own."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from components.object_store.files import open_file, status
from components.span_example_gen.errors import SpanError
from components.span_example_gen.readers.raw_batch import PIECE_BYTES, FilePiece

BOM = b"\xef\xbb\xbf"


def line_chunks(piece: FilePiece) -> Iterator[bytes]:
    """Yields the piece's bytes in parts of about `PIECE_BYTES`, each of whole lines (a line has no upper length)."""
    with open_file(piece.path) as raw:
        stream: Any = gzip.GzipFile(fileobj=raw) if piece.path.endswith(".gz") else raw
        if piece.start:
            stream.seek(piece.start)
        left = piece.length
        rest = b""
        while block := _read(stream, PIECE_BYTES if left is None else min(PIECE_BYTES, left), piece.path):
            left = None if left is None else left - len(block)
            end = block.rfind(b"\n") + 1
            if end:
                yield rest + block[:end]
                rest = block[end:]
            else:
                rest += block
        if rest:
            yield rest


def cut_at_lines(file: FilePiece, separable: Callable[[bytes], bool] = lambda block: True) -> list[FilePiece]:
    """Cuts the rest of a file, from `file.start` (line `file.first_row`) on, into pieces of whole lines.

    From the first block on that is not `separable` a line end may stand inside a value: what follows stays one piece.
    So does a gzipped file, which can only be read from its start.
    """
    size = status(file.path).size
    if file.path.endswith(".gz"):
        return [_piece(file, file.start, None, file.first_row, 4 * size)]
    pieces: list[FilePiece] = []
    start, row, rest = file.start, file.first_row, b""
    with open_file(file.path) as stream:
        stream.seek(start)
        while block := stream.read(PIECE_BYTES):
            block = rest + block
            if not separable(block):
                return [*pieces, _piece(file, start, None, row, size - start)]
            end = block.rfind(b"\n") + 1
            if end:
                pieces.append(_piece(file, start, end, row, end))
                row += block.count(b"\n")
                start += end
            rest = block[end:]
    if rest:
        pieces.append(_piece(file, start, len(rest), row, len(rest)))
    return pieces


def first_line(path: str) -> bytes:
    """The first line with its end, empty for an empty file."""
    chunk = next(line_chunks(FilePiece(path, path)), b"")
    return chunk[: chunk.find(b"\n") + 1] or chunk


def _piece(file: FilePiece, start: int, length: int | None, row: int, size: int) -> FilePiece:
    return FilePiece(file.path, file.name, start, length, row, file.header, size)


def _read(stream: Any, size: int, path: str) -> bytes:
    try:
        return stream.read(size)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise SpanError(
            f"{path} must be a whole gzip file. Received: one that is cut or damaged ({error}). Deliver the file again."
        ) from None
