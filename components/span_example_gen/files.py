"""A span's files, and writing beside before renaming."""

from __future__ import annotations

import gzip
import os
import re
import uuid

from tfx.dsl.io import fileio

from components.data_files import matching
from components.object_store.address import is_address
from components.object_store.files import names_below, open_file, status
from components.span_example_gen.errors import SpanError

_VERSION_FOLDER = re.compile(r"^v\d+$")


def list_files(input_base: str, pattern: str, versioned: bool) -> list[tuple[str, str]]:
    """The files that match a pattern of which only `*` is left, in the order of their names.

    Returns:
      Of each the path, and the name below `input_base`. What is no data is passed over (see `components.data_files`).

    Raises:
      SpanError: no file matches, or a re-delivery lies beside the files of a pattern without a version.
    """
    paths = [(os.path.join(input_base, name), name) for name in matching(input_base, pattern)]
    if not versioned:
        for folder in dict.fromkeys(os.path.dirname(path) for path, _ in paths):
            for name in _folders_in(folder):
                if _VERSION_FOLDER.match(name):
                    raise SpanError(
                        f"{folder} holds a re-delivery, the folder {name!r}, but `data.pattern` names no version and "
                        "would leave it out. Write `v{VERSION}/` before the file name into `data.pattern`."
                    )
    if not paths:
        raise SpanError(
            f"The span's folder must hold at least one file. Received: no file for {pattern!r} in {input_base}. "
            "Deliver the span, or correct `data.path` and `data.pattern`."
        )
    return paths


def _folders_in(folder: str) -> list[str]:
    if is_address(folder):
        return sorted({name.partition("/")[0] for name in names_below(folder) if "/" in name})
    return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())


def with_rows(files: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Those that are not empty, zipped or not: a part without a row says nothing, nor decides for the others."""
    return [(path, name) for path, name in files if not _is_empty(path)]


def _is_empty(path: str) -> bool:
    if status(path).size == 0:
        return True
    if not path.endswith(".gz"):
        return False
    try:
        with open_file(path) as zipped, gzip.GzipFile(fileobj=zipped) as stream:
            return not stream.read(1)
    except (OSError, EOFError):
        return False  # damaged: its reader says so


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
