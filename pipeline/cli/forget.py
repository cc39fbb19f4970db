"""`warmspan forget`: what the law asks for."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.options import DEFAULT_CONFIG, ConfigPath, DryRun, Yes, agreed, read_settings, say, stop

app = typer.Typer()


@app.command()
def forget(
    config: ConfigPath = DEFAULT_CONFIG,
    user: Annotated[list[str] | None, typer.Option(help="A user's id; give it again for several.")] = None,
    file: Annotated[Path | None, typer.Option(help="A file with an id a line.")] = None,
    span: Annotated[str | None, typer.Option(help="A day, like 2024-05-03: all that it brought.")] = None,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Erase users, or a day, from everything under the root, for good. Without either: end what is still to be done."""
    settings = read_settings(config)
    from components.suppression_list import SuppressionListError
    from pipeline.cli.forget_dialog import forget_rest, forget_span, forget_users, users_in
    from pipeline.erasure.errors import ErasureError
    from pipeline.erasure.journal import JournalError
    from pipeline.erasure.pending import pending_lines, read_pending
    from pipeline.metadata_store.exclusive import LockedError
    from pipeline.operations.accounting import DisagreementError
    from pipeline.operations.rollback import RollbackError
    from pipeline.spans import SpanNameError

    def ask() -> bool:
        return agreed("Forget, for good?", dry_run, yes)

    try:
        ids = [*(user or []), *(users_in(file) if file else [])]
        if span is not None and ids:
            raise ErasureError("`--span` must stand alone. Received: with users. Give two commands.")
        if ids:
            clean = forget_users(settings, ids, say, ask)
        elif span is not None:
            clean = forget_span(settings, span, say, ask)
        else:
            clean = forget_rest(settings, say, ask)
        for line in pending_lines(read_pending(settings), settings):
            say(line)
    except (
        DisagreementError, ErasureError, JournalError, LockedError, RollbackError, SpanNameError, SuppressionListError,
    ) as error:  # fmt: skip
        stop(error)
    if not clean:
        sys.exit(1)
