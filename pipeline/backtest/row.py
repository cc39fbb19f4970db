"""One line of a backtest: a span under a policy and a seed."""

from __future__ import annotations

import csv
import dataclasses
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any


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

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> Row:
        return cls(**raw)


def write_csv(path: Path, rows: Sequence[Row], metrics: Sequence[str]) -> None:
    """Writes one line a row, beside first; metrics of an untested span stay empty."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["span", "policy", "seed", "action", "events", *metrics, "examples", "epochs", "seconds"])
    for row in rows:
        values = [f"{row.metrics[name]:.6f}" if name in row.metrics else "" for name in metrics]
        end = [row.examples, row.epochs, f"{row.seconds:.3f}"]
        writer.writerow([row.span, row.policy, row.seed, row.action, row.events, *values, *end])
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(out.getvalue(), encoding="utf-8")
    os.replace(beside, path)
