"""Which files hold the spans, and the pattern that finds them."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal

from components.data_files import is_data_name
from pipeline.init.errors import InitError

Format = Literal["csv", "parquet", "jsonl", "tfrecord"]
FORMATS: dict[str, Format] = {
    ".csv": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".tfrecord": "tfrecord",
    ".tfrecords": "tfrecord",
}
MOST_FILES = 50_000

# A date's parts may stand in folders of their own ("2024/05/03", "year=2024/month=05/day=03").
_DATE = re.compile(
    r"(?<!\d)(?P<year>(?:19|20)\d\d)(?P<a>\D{0,8})(?P<month>0[1-9]|1[0-2]|(?<=\D)[1-9](?=\D))(?P<b>\D{0,8})"
    r"(?P<day>0[1-9]|[12]\d|3[01]|(?<=\D)[1-9])(?!\d)"
)
_NUMBER = re.compile(r"(?P<name>[A-Za-z_.=-]*?)(?P<number>\d+)")
_VERSION = re.compile(r"v\d+")
_SPAN_FOLDER = re.compile(r"(?:span[-_=]?)?\d+", re.IGNORECASE)
_NO_SPAN = re.compile(r"(?:part|shard|chunk)[-_.]?|v", re.IGNORECASE)


@dataclass(frozen=True)
class Layout:
    """The spans below `base`, oldest first: of each its name and the files of its newest delivery.

    `files` are those of all deliveries, `others` those that the pattern does not fit.
    """

    base: Path
    pattern: str
    format: Format
    files: tuple[Path, ...]
    spans: dict[str, tuple[Path, ...]]
    others: tuple[Path, ...]

    @property
    def dated(self) -> bool:
        """Whether a span is a calendar day."""
        return "{YYYY}" in self.pattern


@dataclass(frozen=True)
class _Match:
    pattern: str
    order: tuple[int, int]
    span: str


def find_layout(path: Path) -> Layout:
    """Looks at the names of the files below `path`, which may also be one span's folder or one of its files.

    Raises:
      InitError: `path` does not exist or its files' names hold neither a date nor a number.
    """
    if not path.exists():
        raise InitError(f"The data must exist. Received: {str(path)!r}, which is neither a folder nor a file.")
    for base in _bases(path.absolute()):
        files = _data_files(base)
        for read in (_dated, _numbered):
            matches = read(base, files)
            if matches:
                return _layout(base, files, matches)
    files = _data_files(path if path.is_dir() else path.parent)
    if not files:
        raise InitError(
            f"{path} must hold data files ({', '.join(FORMATS)}, each also with .gz). Received: none with such a name."
        )
    raise InitError(
        f"A file or its folder below {path} must tell its span, by a date such as 2024-05-03 or by a number. "
        f"Received: {', '.join(repr(str(file)) for file in files[:3])}. Lay each day's file into a folder of its own, "
        "for example 2024-05-03/events.csv."
    )


def format_of(file: Path) -> Format | None:
    """The format that a file's ending stands for, None for another ending."""
    return FORMATS.get(Path(file.name.removesuffix(".gz")).suffix.lower())


def _bases(path: Path) -> list[Path]:
    # A span's own folder, or a file in it, is a fair answer to "where is your data": look from further up, too.
    named = [
        place for place in [path, *path.parents][:4] if _DATE.search(place.name) or _SPAN_FOLDER.fullmatch(place.name)
    ]
    return [*([path] if path.is_dir() else []), *(place.parent for place in named[-1:])]


def _data_files(base: Path) -> list[Path]:
    files: list[Path] = []
    for folder, folders, names in os.walk(base):
        folders[:] = sorted(filter(is_data_name, folders))
        files += [Path(folder, name) for name in sorted(filter(is_data_name, names)) if format_of(Path(name))]
        if len(files) > MOST_FILES:
            break
    return files


def _dated(base: Path, files: list[Path]) -> dict[Path, _Match]:
    matches = {}
    for file in files:
        relative = file.relative_to(base).as_posix()
        for match in _DATE.finditer(relative):
            try:
                day = date(int(match["year"]), int(match["month"]), int(match["day"]))
            except ValueError:
                continue
            token = f"{{YYYY}}{match['a']}{{MM}}{match['b']}{{DD}}"
            pattern, version = _pattern(relative[: match.start()], token, relative[match.end() :], file)
            matches[file] = _Match(pattern, (day.toordinal(), version), day.isoformat())
            break
    return matches


def _numbered(base: Path, files: list[Path]) -> dict[Path, _Match]:
    parts = {file: file.relative_to(base).parts for file in files}
    values: dict[int, set[str]] = defaultdict(set)
    for file, names in parts.items():
        for place, name in enumerate(names):
            if match := _number_in(file, names, name, place):
                values[place].add(match["number"])
    if not values:
        return {}
    # The place whose number differs from file to file tells the span; a single span is told by its own folder.
    place = next((place for place in sorted(values) if len(values[place]) > 1), max(values))
    years = [other for other in values if all(re.fullmatch(r"(19|20)\d\d", number) for number in values[other])]
    if years and len(values) > 1 and years[0] != max(values):
        raise InitError(
            "A span must be told by one number, or by its whole date: year, month and day in digits. Received: "
            f"{files[0].relative_to(base).as_posix()!r}, below {base}. Lay each day's files into a folder such as "
            "2024-05-03, or each span's into one with a number that goes up."
        )
    widths = {len(number) for number in values[place]}
    padded = len(widths) == 1 and widths != {1} and any(number.startswith("0") for number in values[place])
    token = f"{{SPAN:{widths.pop()}}}" if padded else "{SPAN}"
    matches = {}
    for file, names in parts.items():
        match = _number_in(file, names, names[place], place) if place < len(names) else None
        if match:
            before = "".join(f"{name}/" for name in names[:place]) + match["name"]
            after = "/".join([names[place][match.end() :], *names[place + 1 :]])
            pattern, version = _pattern(before, token, after, file)
            matches[file] = _Match(pattern, (int(match["number"]), version), match["number"])
    return matches


def _number_in(file: Path, names: tuple[str, ...], name: str, place: int) -> re.Match[str] | None:
    is_file = place == len(names) - 1
    match = _NUMBER.match(name) if is_file else _NUMBER.fullmatch(name)
    if not match or _NO_SPAN.fullmatch(match["name"]):
        return None
    return match if not is_file or name[match.end() :] == _ending(file) else None


def _pattern(before: str, token: str, after: str, file: Path) -> tuple[str, int]:
    """The pattern of one file whose name, without its span, is `before` + `after`, and its version (0 without one)."""
    ending = _ending(file)
    head, *folders = after.removesuffix(ending).split("/")
    version = 0
    if re.search(r"\d", head):
        head = "*"
    names = []
    for folder in folders[:-1]:
        if _VERSION.fullmatch(folder) and not version:
            version = int(folder[1:])
            names.append("v{VERSION}")
        else:
            names.append("*")
    if folders:
        names.append("*")
    return "/".join([before + token + head, *names]) + ending, version


def _ending(file: Path) -> str:
    return "".join(Path(file.name.removesuffix(".gz")).suffixes[-1:]) + (".gz" if file.name.endswith(".gz") else "")


def _layout(base: Path, files: list[Path], matches: dict[Path, _Match]) -> Layout:
    counts = Counter(match.pattern for match in matches.values())
    pattern, _ = counts.most_common(1)[0]
    # A first delivery without a version folder counts as version 0 beside the re-deliveries.
    versioned = [other for other in counts if other.replace("/v{VERSION}", "") == pattern.replace("/v{VERSION}", "")]
    chosen = max(versioned, key=len)
    ours = sorted((match.order, file) for file, match in matches.items() if match.pattern in versioned)
    format_ = format_of(ours[0][1])
    assert format_ is not None
    newest: dict[str, dict[int, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for (_, version), file in ours:
        newest[matches[file].span][version].append(file)
    return Layout(
        base=base,
        pattern=chosen,
        format=format_,
        files=tuple(file for _, file in ours),
        spans={span: tuple(versions[max(versions)]) for span, versions in newest.items()},
        others=tuple(sorted(set(files) - {file for _, file in ours})),
    )
