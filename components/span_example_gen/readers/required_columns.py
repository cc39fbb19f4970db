"""Whether a file has the columns that the settings name."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from components.span_example_gen.errors import SpanError


def require_columns(file: str, wanted: Sequence[str], present: Sequence[str]) -> None:
    """Raises SpanError with the missing columns, the nearest found name of each, and all found ones."""
    missing = [name for name in wanted if name not in present]
    if missing:
        hints = []
        for name in missing:
            near = _nearest(name, present)
            hints.append(f"{name!r}" + (f" (nearest: {near!r})" if near else ""))
        raise SpanError(
            f"{file} must have the columns that `data.columns` and `data.reject` name. Missing: {', '.join(hints)}. "
            f"Found: {', '.join(map(repr, present))}. Correct the settings, or deliver the file with these columns."
        )
    twice = [name for name in wanted if list(present).count(name) > 1]
    if twice:
        raise SpanError(
            f"{file} must have each column once. Received {twice[0]!r} {list(present).count(twice[0])} times."
        )


def _nearest(name: str, present: Sequence[str]) -> str | None:
    by_folded = {other.casefold().strip(): other for other in present}
    near = difflib.get_close_matches(name.casefold().strip(), list(by_folded), n=1, cutoff=0.5)
    return by_folded[near[0]] if near else None
