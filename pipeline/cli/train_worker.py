"""`warmspan train-worker`: a machine that takes part in the trainings of another one's pipeline."""

from __future__ import annotations

from typing import Annotated

import typer

from pipeline.cli.options import DEFAULT_CONFIG, ConfigPath, read_settings, say, stop

app = typer.Typer()


@app.command("train-worker")
def train_worker(
    config: ConfigPath = DEFAULT_CONFIG,
    once: Annotated[bool, typer.Option("--once", help="Take part in one training, and end.")] = False,
) -> None:
    """Take part in every training that the pipeline on the chief of TF_CONFIG's cluster begins, until it is stopped."""
    settings = read_settings(config)
    if settings.training.strategy != "multi_worker":
        stop(
            ValueError(
                "`warmspan train-worker` is for `training.strategy: multi_worker`. Received: "
                f"{settings.training.strategy}. Set it for this worker and for the pipeline alike."
            )
        )
    from components.incremental_trainer.workers import work
    from trainer.workers import WorkerError

    try:
        work(settings.workers_path, say, once)
    except WorkerError as error:
        stop(error)
