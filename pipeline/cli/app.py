"""`warmspan …`: the command line, put together from a file a family of commands.

Nothing heavy is imported before a command needs it, so that `--help` answers at once.
"""

from __future__ import annotations

import logging
import warnings

import typer

from pipeline.cli import (
    adopt,
    backtest,
    forget,
    gc,
    plan,
    publish,
    release,
    report,
    run,
    serve,
    start,
    stream,
    tensorboard,
    train_worker,
    versions,
)
from pipeline.cli.options import stop

app = typer.Typer(
    help="Keeps a Keras recommender fresh: each day warm-starts yesterday's model, and only what holds up is pushed.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
_FAMILIES = (
    *(start, run, train_worker, plan, release, report, backtest, versions, publish, serve),
    *(stream, tensorboard, gc, forget, adopt),
)
for commands in _FAMILIES:
    app.add_typer(commands.app)


def main() -> None:
    """The console script."""
    # TFX's dependencies warn of each other's futures at import; a run's own warnings and logs go to its log file.
    warnings.simplefilter("ignore")
    logging.getLogger("absl").setLevel(logging.ERROR)
    try:
        app()
    except Exception as error:
        from components.object_store.store import ObjectStoreError
        from pipeline.cli.disk_errors import disk_error
        from pipeline.config import ConfigError
        from pipeline.operations.publication import PublicationError

        if isinstance(error, (ConfigError, ObjectStoreError, PublicationError)):
            stop(error)  # a store that does not answer, a root that was moved, in whatever command
        if (sentence := disk_error(error)) is None:
            raise
        stop(OSError(sentence))
