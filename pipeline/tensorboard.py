"""TensorBoard's view of the days: every number of the ledger on one axis, the span."""

from __future__ import annotations

import os
import tempfile
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
        (folder / name).mkdir(parents=True, exist_ok=True)
        # Written outside of the logs, where a TensorBoard that is open may be looking.
        with tempfile.TemporaryDirectory(dir=config.root, prefix=".tensorboard-") as beside:
            writer = tf.summary.create_file_writer(beside)
            with writer.as_default():
                for tag, value in scalars.items():
                    tf.summary.scalar(tag, value, step=run.span)
                if name == "span":
                    text = f"**{run.name}** {run.action}: {run.reason} {run.verdict}"
                    tf.summary.text("decision", text, step=run.span)
            writer.close()
            (file,) = Path(beside).iterdir()
            # TensorBoard reads files in the order of their names: the days in order, whenever each was written.
            os.replace(file, folder / name / f"events.out.tfevents.{run.span:010d}")
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
