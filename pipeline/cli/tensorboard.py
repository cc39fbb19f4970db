"""`warmspan tensorboard`: the days in a browser."""

from __future__ import annotations

import contextlib
import importlib.util
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.options import DEFAULT_CONFIG, ConfigPath, read_settings, say, stop

if TYPE_CHECKING:
    from pipeline.config import Config

app = typer.Typer()

_HOST = "127.0.0.1"


@app.command()
def tensorboard(
    config: ConfigPath = DEFAULT_CONFIG,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Where it listens, on this machine only.")] = 6006,
    logs: Annotated[
        Path | None,
        typer.Option(help="What it shows; <root>/logs if not given. A backtest's: <root>/backtest/tensorboard."),
    ] = None,
) -> None:
    """Open TensorBoard on all days: quality, data, tables, health, cost. Ends with Ctrl-C."""
    settings = None if logs else read_settings(config)
    folder = logs if settings is None else settings.logs_path
    assert folder is not None
    try:
        _check(folder, port)
        from pipeline.monitoring.tensorboard.server import launch

        if settings is not None:
            _prepare(settings)
        link = launch(folder, _HOST, port)
    except ValueError as error:
        stop(error)
    say(f"{link} shows {folder}. Ctrl-C ends it.")
    with contextlib.suppress(KeyboardInterrupt):
        signal.pause()


def _prepare(settings: Config) -> None:
    """What an earlier version wrote goes on today's axis; where it can't, it is shown as it is."""
    from pipeline.monitoring.tensorboard.span_writer import prepare

    try:
        prepare(settings)
    except OSError as error:
        say(f"The steps of the days are numbers still, since the logs can't be written ({error.strerror}).")


def _check(folder: Path, port: int) -> None:
    if importlib.util.find_spec("tensorboard") is None:
        raise ValueError("TensorBoard must be installed. Received: none. Install what requirements.lock.txt names.")
    if not any(folder.rglob("*tfevents*")):
        raise ValueError(
            f"`--logs` must hold TensorBoard's files. Received: none in {folder}. `warmspan run` writes them."
        )
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError as error:
            raise ValueError(
                f"`--port` must be free. Received: {port} ({error.strerror}). Name another, like {port % 65535 + 1}."
            ) from None
