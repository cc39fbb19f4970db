"""`warmspan gc` and `warmspan forget`: what the disk and the law ask for."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli_shared import DEFAULT_CONFIG, ConfigPath, agreed, read_settings, say, stop, table_console

app = typer.Typer()


@app.command()
def gc(
    config: ConfigPath = DEFAULT_CONFIG,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be removed, and remove nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove artifacts that no served, kept, revocable or owed version needs, what killed runs left, and old logs."""
    settings = read_settings(config)
    from rich import box
    from rich.table import Table

    from pipeline.disk_use import disk_use, human
    from pipeline.gc import GcError, carry_out, describe, make_cleanup
    from pipeline.lock import LockedError

    try:
        planned = make_cleanup(settings)
        table = Table(header_style="bold", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
        for title in ("what", "spans", "count", "bytes", "why"):
            table.add_column(title, justify="right" if title in {"count", "bytes"} else "left", overflow="fold")
        for row in describe(planned, settings):
            table.add_row(*row, style="" if row[-1] == "removed" else "dim")
        table_console().print(table)
        before = disk_use(settings).total
        if planned.empty:
            say(f"Nothing to remove: {human(before)}.")
            return
        say(f"{human(before)} now, {human(before - planned.size)} after it: {human(planned.size)} are not needed.")
        if not agreed("Remove it?", dry_run, yes):
            return
        carry_out(settings, planned)
    except (GcError, LockedError) as error:
        stop(error)
    say(f"Done. {human(disk_use(settings).total)} are left.")


@app.command()
def forget(
    config: ConfigPath = DEFAULT_CONFIG,
    user: Annotated[list[str] | None, typer.Option(help="A user's id; give it again for several.")] = None,
    file: Annotated[Path | None, typer.Option(help="A file with an id a line.")] = None,
    span: Annotated[str | None, typer.Option(help="A day, like 2024-05-03: all that it brought.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Erase users, or a day, from everything under the root, for good. Without either: end what is still to be done."""
    settings = read_settings(config)
    from components.span_example_gen.forgotten import ForgottenError
    from pipeline.erasure import due_lines, read_due
    from pipeline.forget import ForgetError
    from pipeline.forget_journal import JournalError
    from pipeline.forget_talk import forget_rest, forget_span, forget_users, users_in
    from pipeline.lock import LockedError
    from pipeline.rollback import RollbackError
    from pipeline.spans import SpanNameError

    def ask() -> bool:
        return agreed("Forget, for good?", dry_run, yes)

    try:
        ids = [*(user or []), *(users_in(file) if file else [])]
        if span is not None and ids:
            raise ForgetError("`--span` must stand alone. Received: with users. Give two commands.")
        if ids:
            clean = forget_users(settings, ids, say, ask)
        elif span is not None:
            clean = forget_span(settings, span, say, ask)
        else:
            clean = forget_rest(settings, say, ask)
        for line in due_lines(read_due(settings), settings):
            say(line)
    except (ForgetError, ForgottenError, JournalError, LockedError, RollbackError, SpanNameError) as error:
        stop(error)
    if not clean:
        sys.exit(1)
