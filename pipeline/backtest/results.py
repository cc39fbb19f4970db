"""One line of a backtest: a span under a policy and a seed."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pydantic

from components.update_decider.backoff import PastVerdict
from trainer.atomic_write import atomic_write


@dataclasses.dataclass(frozen=True)
class Row:
    """What came of one span.

    Attributes:
      policy, seed, span: which; `span` by name.
      action: what was done after the test: `cold_start`, `fine_tune`, `retrain`, `skip`, or `count` for a baseline.
      events: that were tested, 0 while there was no model.
      metrics: by name, means over the tested events.
      examples, epochs: trained on.
      seconds: of training.
      fingerprint: of the span and of all before it.
      just_learned: the first metric on a sample of the span, by the model that had just learned it; None untested.
      retained: the same by the model that has learned the last span; None for a span that was not tested again.
      reason: of the action.
      held_out: the policy's metric on the verdict part, by the model that had just learned the rest of the span; None
        where no policy looks back at it.
      learning: how the training differs from the settings since a refusal, in words; else empty.
      verdict: on the last candidate up to here, by which the next is learned; None where nothing is changed by it.
      levels: metric to what the candidate had on the verdict part, for the retention of later spans.
    """

    policy: str
    seed: int
    span: str
    action: str
    events: int
    metrics: dict[str, float]
    examples: int
    epochs: int
    seconds: float
    fingerprint: str = ""
    just_learned: float | None = None
    retained: float | None = None
    reason: str = ""
    held_out: float | None = None
    learning: str = ""
    verdict: PastVerdict | None = None
    levels: dict[str, float] = dataclasses.field(default_factory=dict)

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> Row:
        return pydantic.TypeAdapter(cls).validate_python(raw)


def write_rows(path: Path, rows: Sequence[Row], metrics: Sequence[str]) -> None:
    """Writes one line a row, beside first; what was not measured stays empty."""
    head = ["span", "policy", "seed", "action", "events", *metrics, "just_learned", "retained"]
    lines = [
        [row.span, row.policy, row.seed, row.action, row.events]
        + [figure(row.metrics.get(name)) for name in metrics]
        + [figure(row.just_learned), figure(row.retained), row.examples, row.epochs, f"{row.seconds:.3f}"]
        + [row.reason, row.learning]
        for row in rows
    ]
    write_csv(path, [[*head, "examples", "epochs", "seconds", "reason", "learning"], *lines])


def figure(value: float | None) -> str:
    """As it stands in a CSV file."""
    return "" if value is None else f"{value:.6f}"


def write_csv(path: Path, lines: Iterable[Sequence[Any]]) -> None:
    """Writes a CSV file, beside first."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(lines)
    with atomic_write(path) as beside:
        beside.write_text(out.getvalue(), encoding="utf-8")
