"""TensorBoard's view of the days: every number of the ledger on one axis, the span."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf

from pipeline.config import Config
from pipeline.ledger import Run


def write_span(config: Config, run: Run) -> Path:
    """Writes one span's numbers under `<logs>/spans`; the step is the span's number. A rerun replaces them.

    Candidate and champion are runs of their own, so that TensorBoard draws them in one chart.
    """
    folder = config.logs_path / "spans"
    for name, scalars in _runs(run):
        suffix = f".span-{run.name}"
        for old in (folder / name).glob(f"*{suffix}"):
            old.unlink()
        writer = tf.summary.create_file_writer(str(folder / name), filename_suffix=suffix)
        with writer.as_default():
            for tag, value in scalars.items():
                tf.summary.scalar(tag, value, step=run.span)
            if name == "span":
                tf.summary.text("decision", f"**{run.name}** {run.action}: {run.reason} {run.verdict}", step=run.span)
        writer.close()
    return folder


def _runs(run: Run) -> Iterator[tuple[str, dict[str, float]]]:
    counts = {
        "data/events": run.events,
        "data/rejects": run.rejects,
        "data/duplicates": run.duplicates,
        "data/new_items": run.new_items,
        "data/new_keys": run.new_keys,
        "tables/item_rows": run.item_rows,
        "tables/key_rows": run.key_rows,
    }
    scalars = {tag: float(value) for tag, value in counts.items() if value is not None}
    scalars |= {f"next_span/{name}": value for name, value in run.next_span.items()}
    scalars |= {f"seconds/{node}": value for node, value in run.seconds.items()}
    yield "span", scalars
    yield "candidate", {f"gate/{name}": value for name, value in run.candidate.items()}
    yield "champion", {f"gate/{name}": value for name, value in run.champion.items()}
