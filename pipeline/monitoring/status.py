"""The ledger as a table."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table

from pipeline.config import Config
from pipeline.erasure.pending import pending_lines, read_pending
from pipeline.ledger.runs import Run, held_sentence
from pipeline.ledger.serving_state import read_serving_state, serving_state_lines
from pipeline.metrics import watched
from pipeline.operations.disk_usage import disk_lines, disk_use
from pipeline.operations.publication import publication_lines

_NEW = "item_events:0"  # the slice of items that had no event before
_ACTIONS = {"fine_tune": "fine-tune", "cold_start": "cold start", "retrain": "retrain", "skip": "skip"}


def shown(runs: Sequence[Run]) -> list[Run]:
    """Of every run the latest of each span, and earlier ones whose version was taken back; in order."""
    latest = {run.span: run.revision for run in sorted(runs, key=lambda run: run.revision)}
    kept = [run for run in runs if run.revision == latest[run.span] or (run.pushed and run.revoked)]
    return sorted(kept, key=lambda run: (run.span, run.revision))


def status_table(ledger: Sequence[Run]) -> Table:
    """One row a span: what came in, what was decided, how good it is, what is served."""
    names = list(dict.fromkeys(name for run in ledger for name in (*run.next_span, *run.candidate)))
    main = watched(names) or "metric"
    table = Table(header_style="bold", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=0)
    left = {"span", "decision", "verdict"}
    # Where there is a catalogue an item may be served before anybody has met it.
    with_new = any(_NEW in run.surroundings.slices for run in ledger)
    quality = [f"next-\nspan\n{main}", *(["on\nnew\nitems"] if with_new else []), f"candi-\ndate\n{main}"]
    for title in (
        *("span", "rows", "events", "re-\njects", "dupli-\ncates", "new\nitems", "new\nkeys", "decision"),
        *(*quality, f"cham-\npion\n{main}", "verdict", "pushed", "sec."),
    ):
        table.add_column(title, justify="left" if title in left else "right", no_wrap=True, vertical="bottom")
    for run in ledger:
        table.add_row(
            run.name if run.revision == 1 else f"{run.name} r{run.revision}",
            _count(None if run.balance is None else run.balance.rows),
            *(_count(value) for value in (run.events, run.rejects, run.duplicates, run.new_items, run.new_keys)),
            _ACTIONS.get(run.action, "-") if run.state == "done" else f"[red]{run.state}[/red]",
            _number(run.next_span.get(main)),
            *([_number(run.surroundings.slices.get(_NEW, {}).get(main))] if with_new else []),
            *(_number(of.get(main)) for of in (run.candidate, run.champion)),
            _verdict(run),
            str(run.pushed) if run.pushed else "-",
            f"{sum(run.seconds.values()):.1f}",
        )
    return table


def held_lines(runs: Sequence[Run]) -> list[str]:
    """The spans that the guard holds, and what lets them in."""
    return [f"{run.name}: {held_sentence(run)}" for run in runs if run.state == "held"]


def learning_lines(runs: Sequence[Run]) -> list[str]:
    """The spans that were learned otherwise than the settings say, and why."""
    return [f"{run.name}: {run.learning}" for run in runs if run.learning]


def shelf_lines(runs: Sequence[Run]) -> list[str]:
    """The last span's champion on items that had no event before, where there is a catalogue."""
    return [f"{run.name}: {line}" for run in runs[-1:] if (line := run.surroundings.shelf_sentence)]


def _verdict(run: Run) -> str:
    if not run.verdict:
        return "-"
    if run.pushed and run.revoked:
        return "[red]revoked[/red]"
    return "[green]blessed[/green]" if run.pushed else "[yellow]refused[/yellow]"


def status_lines(config: Config) -> list[str]:
    """What stands below the table: what is served and owed, what an erasure needs, what the root takes on the disk."""
    return [
        *serving_state_lines(read_serving_state(config), config),
        *publication_lines(config),
        *pending_lines(read_pending(config), config),
        *disk_lines(disk_use(config)),
    ]


def _count(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
