"""`warmspan gc`: what the disk asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.options import (
    DEFAULT_CONFIG,
    ConfigPath,
    DryRun,
    Yes,
    agreed,
    read_settings,
    say,
    stop,
    table_console,
)

if TYPE_CHECKING:
    from pipeline.config import Config

app = typer.Typer()


@app.command()
def gc(
    config: ConfigPath = DEFAULT_CONFIG,
    dry_run: DryRun = False,
    yes: Yes = False,
    restore: Annotated[bool, typer.Option("--restore", help="Put back what lies in the trash.")] = False,
    lost: Annotated[bool, typer.Option("--lost", help="Tell the ledger that missing artifacts are gone.")] = False,
) -> None:
    """Remove artifacts that no served, kept, revocable or owed version needs, what killed runs left, and old logs."""
    settings = read_settings(config)
    from pipeline.metadata_store.exclusive import LockedError
    from pipeline.operations.accounting import DisagreementError
    from pipeline.operations.garbage_collection import GcError

    try:
        if restore and lost:
            raise GcError("`--restore` must stand alone. Received: with `--lost`. Give two commands.")
        if restore:
            _restore(settings)
        elif lost:
            _give_up_lost(settings)
        else:
            _clean(settings, dry_run, yes)
    except (GcError, DisagreementError, LockedError) as error:
        stop(error)


def _clean(settings: Config, dry_run: bool, yes: bool) -> None:
    from rich import box
    from rich.filesize import decimal
    from rich.table import Table

    from pipeline.operations.disk_usage import TRASH, disk_use
    from pipeline.operations.garbage_collection import carry_out, describe, make_cleanup

    planned = make_cleanup(settings)
    table = Table(header_style="bold", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for title in ("what", "spans", "count", "bytes", "why"):
        table.add_column(title, justify="right" if title in {"count", "bytes"} else "left", overflow="fold")
    for row in describe(planned, settings):
        table.add_row(*row, style="" if row[-1].startswith("removed") else "dim")
    table_console().print(table)
    before = disk_use(settings).total
    if planned.empty:
        say(f"Nothing to remove: {decimal(before)}.")
        return
    left = before - planned.size
    say(f"{decimal(before)} now, {decimal(left)} without what is not needed: {decimal(planned.size)}.")
    if not agreed("Remove it?", dry_run, yes):
        return
    carry_out(settings, planned)
    use = disk_use(settings)
    say(f"Done. {decimal(use.total)} are left.")
    if thrown := use.parts[TRASH]:
        days = f"{settings.gc.trash_days} days (gc.trash_days)"
        say(f"{decimal(thrown)} of them lie in the trash for {days}. `warmspan gc --restore` puts them back.")


def _restore(settings: Config) -> None:
    from pipeline.operations.garbage_collection import restore

    folders = restore(settings)
    if not folders:
        say("The trash is empty. Nothing to put back.")
    for trash in folders:
        count = len(trash.artifacts) + len(trash.paths)
        say(f"Put back what was thrown away at {trash.since:%Y-%m-%d %H:%M} UTC: {count} folders and files.")


def _give_up_lost(settings: Config) -> None:
    from pipeline.operations.garbage_collection import give_up_lost

    lost = give_up_lost(settings)
    for record in lost:
        say(f"Given up: {record.folder}")
    if not lost:
        say("No artifact is missing. Nothing to do.")
