"""`warmspan release`: lets a span in that the guard holds."""

from __future__ import annotations

from typing import Annotated

import typer

from pipeline.cli.options import DEFAULT_CONFIG, ConfigPath, read_settings, say, stop

app = typer.Typer()


@app.command()
def release(
    day: Annotated[str, typer.Argument(help="The span that is held, like 2024-05-03.")],
    config: ConfigPath = DEFAULT_CONFIG,
    reason: Annotated[str, typer.Option(help="Why; kept in the ledger.")] = "released by hand",
) -> None:
    """Let a span in that is held because it does not look like those before it. Runs nothing by itself."""
    settings = read_settings(config)
    from pipeline.metadata_store.exclusive import LockedError
    from pipeline.operations.release import ReleaseError
    from pipeline.operations.release import release as let_in
    from pipeline.spans import SpanNameError

    try:
        for line in let_in(settings, day, reason):
            say(line)
    except (SpanNameError, ReleaseError, LockedError) as error:
        stop(error)
