"""`warmspan gc`: what the disk asks for."""

from __future__ import annotations

from typing import Annotated

import typer

from pipeline.cli.options import DEFAULT_CONFIG, ConfigPath, agreed, read_settings, say, stop, table_console

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
    from rich.filesize import decimal
    from rich.table import Table

    from pipeline.metadata_store.exclusive import LockedError
    from pipeline.operations.disk_usage import disk_use
    from pipeline.operations.garbage_collection import GcError, carry_out, describe, make_cleanup

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
            say(f"Nothing to remove: {decimal(before)}.")
            return
        say(
            f"{decimal(before)} now, {decimal(before - planned.size)} after it: {decimal(planned.size)} are not needed."
        )
        if not agreed("Remove it?", dry_run, yes):
            return
        carry_out(settings, planned)
    except (GcError, LockedError) as error:
        stop(error)
    say(f"Done. {decimal(disk_use(settings).total)} are left.")
