"""The plan as a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich import box
from rich.markup import escape
from rich.table import Table

from pipeline.outlook import Finding
from pipeline.plan import Step
from pipeline.spans import Naming

_MOST_STEPS = 4


def outlook_table(findings: Iterable[Finding], naming: Naming) -> Table:
    """One row a finding: which span, what is found, why, and what is run because of it."""
    table = Table(header_style="bold", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 2, 0, 0))
    for title in ("span", "finding", "why", "runs"):
        table.add_column(title, no_wrap=title == "finding", overflow="fold")
    for one in findings:
        kind = f"[yellow]{one.kind}[/yellow]" if one.waits else one.kind
        table.add_row(one.name, kind, escape(one.sentence), _steps(one.run, naming) or ("needs you" * one.waits or "-"))
    return table


def step_names(steps: Iterable[Step], naming: Naming) -> list[str]:
    """Each step's span, with its revision where it replaces an earlier run."""
    return [naming.format(one.span) + f" r{one.revision}" * (one.revision > 1) for one in steps]


def _steps(steps: Sequence[Step], naming: Naming) -> str:
    named = step_names(steps, naming)
    if len(named) <= _MOST_STEPS:
        return ", ".join(named)
    return f"{named[0]}, {named[1]}, … {named[-1]} ({len(named)} in all)"
