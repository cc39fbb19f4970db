"""A span's files, and writing beside before renaming."""

from __future__ import annotations

import os
import re
import uuid

from tfx.dsl.io import fileio

from components.span_example_gen.errors import SpanError

_VERSION_FOLDER = re.compile(r"^v\d+$")


def list_files(input_base: str, pattern: str, versioned: bool) -> list[tuple[str, str]]:
    """The files that match, in the order of their names: path, and name below `input_base`.

    Names that start with `_` or `.` are not data (as in Hadoop, Spark and pyarrow.dataset) and are passed over.

    Raises:
      SpanError: no file matches, or a re-delivery lies beside the files of a pattern without a version.
    """
    paths = []
    for path in sorted(fileio.glob(os.path.join(input_base, pattern))):
        name = os.path.basename(path.rstrip("/"))
        if fileio.isdir(path):
            if _VERSION_FOLDER.match(name) and not versioned:
                raise SpanError(
                    f"{os.path.dirname(path)} holds a re-delivery, the folder {name!r}, but `data.pattern` names no "
                    "version and would leave it out. Write `v{VERSION}/` before the file name into `data.pattern`."
                )
        elif not name.startswith(("_", ".")):
            paths.append((path, os.path.relpath(path, input_base)))
    if not paths:
        raise SpanError(
            f"The span's folder must hold at least one file. Received: no file for {pattern!r} in {input_base}. "
            "Deliver the span, or correct `data.path` and `data.pattern`."
        )
    return paths


def write_file(path: str, data: bytes) -> None:
    """Writes beside and renames, so that the name never stands for a part of the data."""
    beside = beside_name(path)
    with fileio.open(beside, "wb") as stream:
        stream.write(data)
    fileio.rename(beside, path, overwrite=True)


def beside_name(path: str) -> str:
    """A name that no other attempt at the same file uses: Beam may try a bundle twice at once."""
    return f"{path}.{uuid.uuid4().hex}.tmp"


def read_file(path: str) -> bytes:
    """The whole file."""
    with fileio.open(path, "rb") as stream:
        return stream.read()


def remove_tree(path: str) -> None:
    """Removes a folder if it is there."""
    if fileio.exists(path):
        fileio.rmtree(path)
