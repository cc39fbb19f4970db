"""The curves for TensorBoard: a run a policy and seed, its step the span's number."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pipeline.backtest.row import Row
from pipeline.headline import headline
from pipeline.spans import Naming
from trainer.keras2 import tf

_FILE = "events.out.tfevents.backtest"


def write_events(folder: Path, rows: Sequence[Row], metrics: Sequence[str], naming: Naming) -> None:
    """Writes the rows of one policy and seed under `folder`; what lay there before is replaced.

    Tags: `next_span/<metric>`, `training/seconds`, `training/seconds_so_far`, `training/examples`, and of the older
    spans `just_learned/<metric>` and `retained/<metric>`.
    """
    run = folder / rows[0].policy / f"seed-{rows[0].seed}"
    run.mkdir(parents=True, exist_ok=True)
    # Written outside of the run, where a TensorBoard that is open may be looking.
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".tensorboard-") as beside:
        writer = tf.summary.create_file_writer(beside)
        so_far = 0.0
        with writer.as_default():
            for row in rows:
                so_far += row.seconds
                for tag, value in _scalars(row, headline(metrics), so_far).items():
                    tf.summary.scalar(tag, value, step=naming.parse(row.span))
        writer.close()
        (file,) = Path(beside).iterdir()
        os.replace(file, run / _FILE)


def _scalars(row: Row, metric: str, so_far: float) -> dict[str, float]:
    scalars = {f"next_span/{name}": value for name, value in row.metrics.items()} if row.events else {}
    if row.action != "count":
        scalars["training/seconds"] = row.seconds
        scalars["training/seconds_so_far"] = so_far
        scalars["training/examples"] = float(row.examples)
    for tag, value in (("just_learned", row.just_learned), ("retained", row.retained)):
        if value is not None:
            scalars[f"{tag}/{metric}"] = value
    return scalars
