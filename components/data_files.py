"""Which files are a span's data: the one answer that ingestion, `plan`, `init` and the fingerprint go by.

A name that begins with `_` or `.` is no data, and nothing below a folder of such a name is (as in Hadoop, Spark and
pyarrow.dataset): notes and attempts of the tools that wrote the others. `*` in a pattern stands for any part of a name;
no other character means anything but itself, in the pattern or in the folder that it is looked for in.
"""

from __future__ import annotations

import dataclasses
import datetime
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from components.object_store.address import is_address

EPOCH = datetime.date(1970, 1, 1)
_TOKEN = re.compile(r"\{(?P<name>YYYY|MM|DD|SPAN|VERSION)(?::\d+)?\}|\*")
_DIGITS = {"YYYY": r"\d{4}", "MM": r"\d{2}", "DD": r"\d{2}", "SPAN": r"\d+", "VERSION": r"[^/]*"}
# The folder of a version, as it stands in a pattern: `v{VERSION}/`, `{VERSION:2}/`. A first delivery has none.
_VERSION_FOLDER = re.compile(r"[^/{}]*\{VERSION(:\d+)?\}[^/{}]*/")
FIRST_DELIVERY = 0


@dataclasses.dataclass(frozen=True)
class DataFile:
    """A file of a span.

    Attributes:
      path, name: where it lies, and its name below the folder of all spans.
      span: the span's number; of dated patterns days since 1970-01-01.
      version: as it is written, empty where the pattern or the path names none.
      pattern: the pattern with span and version as they are written in the path: only `*` is left.
    """

    path: str
    name: str
    span: int
    version: str
    pattern: str


def is_data_name(name: str) -> bool:
    """Whether a file or folder of that name may be data."""
    return not name.startswith(("_", "."))


def data_files(base: str | Path, pattern: str) -> list[DataFile]:
    """Every file of every span, in the order of their names.

    Args:
      base: the folder of all spans, on a disk or the address of one in an object store.
      pattern: as in `data.pattern`; where it names a version, a delivery without one counts too.
    """
    files = []
    for variant in dict.fromkeys((pattern, without_version(pattern))):
        expression = re.compile(_expression(variant))
        for name in sorted(_names(str(base), variant.split("/"))):
            match = expression.fullmatch(name)
            span = None if match is None else _span(match.groupdict())
            if match is not None and span is not None:
                version = match.groupdict().get("version") or ""
                files.append(DataFile(os.path.join(base, name), name, span, version, _written(variant, match)))
    return files


def without_version(pattern: str) -> str:
    """The pattern of a first delivery, which has no folder of its own."""
    return _VERSION_FOLDER.sub("", pattern)


def matching(base: str | Path, pattern: str) -> list[str]:
    """Names below `base` of the files that match a pattern of which only `*` is left, in their order."""
    return sorted(_names(str(base), pattern.split("/")))


def _names(base: str, parts: list[str], below: str = "") -> Iterator[str]:
    if is_address(base):
        from components.object_store.files import names_below

        # A store has names and no folders: all of them at once cost less than a question for each day.
        yield from (name for name in names_below(base) if _fits(name.split("/"), parts))
        return
    try:
        entries = sorted(os.scandir(os.path.join(base, below)), key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return
    expression = re.compile(_loose(parts[0]))
    for entry in entries:
        if not _is_of(entry.name, parts[0], expression):
            continue
        name = f"{below}/{entry.name}" if below else entry.name
        if len(parts) > 1 and entry.is_dir():
            yield from _names(base, parts[1:], name)
        elif len(parts) == 1 and entry.is_file():
            yield name


def _fits(names: list[str], parts: list[str]) -> bool:
    """Whether the folders and the file of a path are those that a walk would have entered and taken."""
    return len(names) == len(parts) and all(
        _is_of(name, part, re.compile(_loose(part))) for name, part in zip(names, parts, strict=True)
    )


def _is_of(name: str, part: str, expression: re.Pattern[str]) -> bool:
    # A pattern that writes the underscore itself means it.
    return bool(expression.fullmatch(name)) and (is_data_name(name) or part.startswith(name[0]))


def _pieces(pattern: str) -> Iterator[tuple[str, str]]:
    """Tokens with their names, `*`, and literal text (with an empty name), in order."""
    end = 0
    for match in _TOKEN.finditer(pattern):
        if match.start() > end:
            yield "", pattern[end : match.start()]
        yield match["name"] or "*", match[0]
        end = match.end()
    if end < len(pattern):
        yield "", pattern[end:]


def _loose(part: str) -> str:
    """Matches one name of a path, whatever span it is of."""
    of_token = {"*": "[^/]*", **_DIGITS, "MM": r"\d{1,2}", "DD": r"\d{1,2}"}
    return "".join(of_token[name] if name else re.escape(text) for name, text in _pieces(part))


def _expression(pattern: str) -> str:
    """Matches a whole path below the folder of all spans, with its date, span and version as groups."""
    pieces, seen = list(_pieces(pattern)), set[str]()
    parts = []
    for place, (name, text) in enumerate(pieces):
        if not name:
            parts.append(re.escape(text))
        elif name == "*":
            parts.append("[^/]*")
        elif name in seen:  # a date may be written twice, in the folder and in the file's name
            parts.append(f"(?P={name.lower()})")
        else:
            seen.add(name)
            alone = _alone(pieces, place) and name in ("MM", "DD")
            parts.append(f"(?P<{name.lower()}>{r'[0-9]{1,2}' if alone else _DIGITS[name]})")
    return "".join(parts)


def _alone(pieces: list[tuple[str, str]], place: int) -> bool:
    """Whether no digit can stand beside a token: then a month or a day needs no zero in front (`month=4`)."""
    before = pieces[place - 1] if place else ("", "/")
    after = pieces[place + 1] if place + 1 < len(pieces) else ("", "/")
    return not before[0] and not before[1][-1:].isdigit() and not after[0] and not after[1][:1].isdigit()


def _span(parts: dict[str, str]) -> int | None:
    if "span" in parts:
        return int(parts["span"])
    try:
        return (datetime.date(int(parts["yyyy"]), int(parts["mm"]), int(parts["dd"])) - EPOCH).days
    except (KeyError, ValueError):
        return None  # a folder like 2024-13-01 is no day


def _written(pattern: str, match: re.Match[str]) -> str:
    return "".join(match[name.lower()] if name not in ("", "*") else text for name, text in _pieces(pattern))


def spans_of(files: Iterable[DataFile]) -> list[int]:
    """The spans that files are of, in order."""
    return sorted({file.span for file in files})
