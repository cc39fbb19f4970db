"""`warmspan tensorboard`: the days in a browser."""

from __future__ import annotations

import importlib.util
import os
import socket
import sys
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.options import DEFAULT_CONFIG, ConfigPath, read_settings, say, stop

app = typer.Typer()

_HOST = "127.0.0.1"
_FIRST_PAGE = "#custom_scalars&_smoothingWeight=0"  # a day is no step of noise to be smoothed away
# TensorBoard keeps 10 texts and 1,000 scalars of each tag, and throws the others away: here each is a day.
_SAMPLES = "text=1000,scalars=100000,histograms=1000"


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
    folder = logs or read_settings(config).logs_path
    try:
        _check(folder, port)
    except ValueError as error:
        stop(error)
    say(f"http://{_HOST}:{port}/{_FIRST_PAGE} shows {folder}. Ctrl-C ends it.")
    asked = {"--logdir": str(folder), "--host": _HOST, "--port": str(port), "--samples_per_plugin": _SAMPLES}
    options = [part for option in asked.items() for part in option]
    # Takes the place of this process: what ends this one ends TensorBoard.
    os.execv(sys.executable, [sys.executable, "-W", "ignore", "-m", "tensorboard.main", *options])


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
