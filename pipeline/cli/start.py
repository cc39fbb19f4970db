"""`warmspan init` and `demo`: the first steps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pipeline.cli.options import (
    DEFAULT_CONFIG,
    stop,
    table_console,
)

app = typer.Typer()


@app.command()
def init(
    data: Annotated[Path, typer.Argument(help="The folder that holds the spans.")],
    out: Annotated[Path, typer.Option(help="The settings file to write.")] = DEFAULT_CONFIG,
    key: Annotated[str | None, typer.Option(help="Column of the user or session.")] = None,
    item: Annotated[str | None, typer.Option(help="Column of the item.")] = None,
    timestamp: Annotated[str | None, typer.Option(help="Column of the time.")] = None,
    weight: Annotated[str | None, typer.Option(help="Column of the weight or rating.")] = None,
    timestamp_format: Annotated[str | None, typer.Option(help="The form of the time, as for strptime.")] = None,
    force: Annotated[bool, typer.Option(help="Write over a settings file that is there.")] = False,
) -> None:
    """Write a commented settings file by looking at some of the spans."""
    from pipeline.init.errors import InitError
    from pipeline.init.template import scalar
    from pipeline.init.write_config import write_config

    try:
        guesses = write_config(
            data,
            out,
            key=key,
            item=item,
            timestamp=timestamp,
            weight=weight,
            timestamp_format=timestamp_format,
            overwrite=force,
        )
    except InitError as error:
        stop(error)
    for guess in guesses:
        Console().print(f"{guess.setting}: {scalar(guess.value)}, {guess.why}", highlight=False, markup=False)
    Console().print(f"Wrote {out}. Read it through, then start with `warmspan run --config {out}`.", highlight=False)


@app.command()
def demo(
    folder: Annotated[Path, typer.Option(help="Where the demo may write.")] = Path("demo"),
    days: Annotated[int, typer.Option(help="How many days to run.")] = 5,
) -> None:
    """Run the daily loop on a simulated shop, serve the result and ask it."""
    from pipeline.demo.run import run_demo
    from pipeline.orchestration.span_run import RunError

    try:
        run_demo(folder, days, table_console())
    except RunError as error:
        stop(error)
