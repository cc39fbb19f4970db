"""Whether a file has the columns that the settings name."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Sequence

import pyarrow as pa

from components.span_example_gen.errors import SpanError
from components.span_example_gen.readers.raw_batch import RawBatch


class ColumnsError(SpanError):
    """A file does not have the columns that the settings name; others of its span may."""


def absent_columns(wanted: Sequence[str], present: Sequence[str]) -> frozenset[str]:
    """Those of `wanted` that are not there, or more than once, so that nobody knows which is meant."""
    return frozenset(name for name in wanted if list(present).count(name) != 1)


def with_absent(batch: RawBatch, wanted: Sequence[str], present: Sequence[str]) -> RawBatch:
    """The batch with every column of `wanted`: those that the file's header or schema lacks are null."""
    absent = absent_columns(wanted, present)
    nulls = {name: pa.nulls(len(batch.rows), pa.string()) for name in absent}
    return dataclasses.replace(
        batch, columns={**batch.columns, **nulls}, absent=absent, present=frozenset(present) - absent
    )


def require_columns(file: str, wanted: Sequence[str], present: Sequence[str]) -> None:
    """Raises ColumnsError with the missing columns, the nearest found name of each, and all found ones."""
    missing = [name for name in wanted if name not in present]
    if missing:
        hints = []
        for name in missing:
            near = _nearest(name, present)
            hints.append(f"{name!r}" + (f" (nearest: {near!r})" if near else ""))
        raise ColumnsError(
            f"{file} must have the columns that the settings name: `data.columns` and `data.reject`, or of a catalogue "
            f"`catalogue` and `features.item`. Missing: {', '.join(hints)}. "
            f"Found: {', '.join(map(repr, present))}. Correct the settings, or deliver the file with these columns."
        )
    twice = [name for name in wanted if list(present).count(name) > 1]
    if twice:
        raise ColumnsError(
            f"{file} must have each column once. Received {twice[0]!r} {list(present).count(twice[0])} times."
        )


def _nearest(name: str, present: Sequence[str]) -> str | None:
    by_folded = {other.casefold().strip(): other for other in present}
    near = difflib.get_close_matches(name.casefold().strip(), list(by_folded), n=1, cutoff=0.5)
    return by_folded[near[0]] if near else None
