"""What ingestion will reject, by its own checks on the sample; and rules for values that it takes for good ones."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from components.span_example_gen.checks import check
from components.span_example_gen.errors import SpanError
from components.span_example_gen.hashing import hash_events
from components.span_example_gen.settings import Settings
from pipeline.init.column_roles import plain
from pipeline.init.errors import InitError
from pipeline.init.guess import Guess, percent
from pipeline.init.sample import Column, Sample, number_in
from pipeline.init.timestamp_format import NO_TIME
from pipeline.spans import Naming

# Below 0 such a number is a return, a cancellation or a correction; a rating below 0 may be one.
_AMOUNTS = ("quantity", "qty", "amount", "units", "count")
# What stands where nobody is known, beyond the words that ingestion knows. Numbers only if they are frequent.
_NOBODY = re.compile(
    r"undefined|n/?a|#n/a|nil|unknown|anonymous|anon|guest|none?|[(<\[](null|none|not set|unknown)[)>\]]|-|\?|[0-]{36}",
    re.IGNORECASE,
)
_NOBODY_NUMBER = re.compile(r"0|-1")


@dataclass
class Expected:
    """What came of the rows looked at; `worst` is the largest share of rejects in a span."""

    rows: int = 0
    events: int = 0
    repeats: int = 0
    worst: float = 0.0
    reasons: Counter[str] = field(default_factory=Counter)

    def guess(self) -> list[Guess]:
        """`data.max_reject_fraction`, where something will be rejected."""
        if not self.reasons:
            return []
        shares = [f"{percent(count / self.rows)} {reason}" for reason, count in self.reasons.most_common()]
        seen = f"in the {self.rows:,} rows looked at: {', '.join(shares)}"
        if self.worst <= 0.03:
            return [Guess("data.max_reject_fraction", 0.05, seen)]
        # Where the spans that were looked at differ much, others will be worse still.
        mean = sum(self.reasons.values()) / self.rows
        allowed = min(1.0, math.ceil((self.worst + max(0.15, (self.worst - mean) / 2)) * 10) / 10)
        return [Guess("data.max_reject_fraction", allowed, f"{seen}; {percent(self.worst)} in the worst span")]


def expect(sample: Sample, settings: Settings, without: Set[str]) -> Expected:
    """Runs ingestion's checks on the sample.

    Args:
      sample: the rows.
      settings: those that will be written.
      without: spans to leave out, whose rejects say nothing of the others.

    Raises:
      InitError: ingestion would refuse every span, or no row is an event.
    """
    result = Expected()
    by_span: dict[str, Counter[str]] = {}
    naming = Naming(settings.dated)
    hashes: dict[str, list[np.ndarray]] = {}
    for span, batch in sample.read(settings.columns):
        if span in without:
            continue
        try:
            events, rejects = check(batch, settings, settings.window(naming.parse(span)))
        except SpanError as error:
            raise InitError(f"{sample.layout.spans[span][0]} would be refused. {error}") from None
        hashes.setdefault(span, []).append(hash_events(events))
        counts = by_span.setdefault(span, Counter())
        counts["rows"] += len(batch.rows) + len(batch.malformed)
        counts["rejects"] += len(rejects)
        result.events += events.num_rows
        result.reasons.update(reject.reason for reject in rejects)
    result.rows = sum(counts["rows"] for counts in by_span.values())
    result.worst = max(counts["rejects"] / counts["rows"] for counts in by_span.values())
    for parts in hashes.values():
        whole = np.concatenate(parts)
        result.repeats += len(whole) - len(np.unique(whole, axis=0))
    if not result.events:
        reasons = ", ".join(
            f"{percent(count / result.rows)} {reason}" for reason, count in result.reasons.most_common()
        )
        raise InitError(
            f"Some of the {result.rows:,} rows looked at must be events. Received: {reasons}. Name the columns with "
            "--key, --item and --timestamp."
        )
    return result


def reject_rules(by_part: Mapping[str, Column], amounts: list[Column], windowed: bool) -> list[Guess]:
    """`data.reject` and `data.weight_above`, for what ingestion would take as an event and what surely is none.

    Args:
      by_part: the columns of the key, the item, the timestamp and, where it is given, the weight.
      amounts: columns that could be a weight.
      windowed: whether times outside of the span are rejected anyway.
    """
    rules: list[dict[str, Any]] = []
    reasons = []
    above: list[Guess] = []
    for column in amounts:
        if not any((number_in(text) or 0) < 0 for text in column.values):
            continue
        if by_part.get("weight") is column and not plain(column.name).endswith(_AMOUNTS):
            above = [Guess("data.weight_above", 0, f"a {column.name} below 0 can't be a weight")]
        elif plain(column.name).endswith(_AMOUNTS):
            rules.append({"column": column.name, "matches": "-", "reason": f"negative_{plain(column.name)}"})
            reasons.append(f"a {column.name} below 0 is a return or a cancellation")
    for part in ("key", "item"):
        column = by_part[part]
        if words := _nobody(column):
            pattern = rf"\s*({'|'.join(map(re.escape, words))})\s*$"
            rules.append({"column": column.name, "matches": pattern, "reason": f"no_{part}"})
            reasons.append(f"{' and '.join(map(repr, words))} as {column.name} stands for nothing")
    times = by_part["timestamp"]
    # Ingestion reads them, as times of another age, and nothing else would stop them.
    strange = [text for text in dict.fromkeys(times.values) if NO_TIME.fullmatch(text.strip())]
    if strange and not windowed:
        pattern = rf"\s*({'|'.join(map(re.escape, strange[:5]))})$"
        rules.append({"column": times.name, "matches": pattern, "reason": "no_time"})
        reasons.append(f"{' and '.join(map(repr, strange[:5]))} as {times.name} is no time")
    return [*above, *([Guess("data.reject", rules, "; ".join(reasons))] if rules else [])]


def _nobody(column: Column) -> list[str]:
    counts = Counter(text.strip() for text in column.values)
    usual = float(np.median(list(counts.values()))) if counts else 0.0
    return [
        text
        for text, count in counts.most_common(20)
        if (_NOBODY.fullmatch(text) and count >= 0.01 * column.rows)
        or (_NOBODY_NUMBER.fullmatch(text) and count >= 0.05 * column.rows and count >= 10 * usual)
    ]
