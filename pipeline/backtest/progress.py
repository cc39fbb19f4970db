"""A bar with the time left, which what an earlier run did does not make look faster."""

from __future__ import annotations

from rich.console import Console
from rich.progress import (
    BarColumn,
    GetTimeCallable,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

_DAYS = 7 * 86_400.0


class Bar:
    """The bar of one task."""

    def __init__(self, progress: Progress, total: float, done: float = 0.0) -> None:
        """`done` of `total` units lie behind us already, and say nothing about how long the others take."""
        self._progress = progress
        self._task = progress.add_task("", total=total, completed=done)  # type: ignore[arg-type]

    def show(self, description: str) -> None:
        """Says what is being done."""
        self._progress.update(self._task, description=description)

    def advance(self, units: float = 1.0) -> None:
        """So much has just been done."""
        self._progress.update(self._task, advance=units)

    def remove(self) -> None:
        """Takes the bar away."""
        self._progress.remove_task(self._task)


def make_progress(console: Console, get_time: GetTimeCallable | None = None) -> Progress:
    """Bars on a terminal; nothing elsewhere."""
    columns = (
        TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(),
        TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    return Progress(
        *columns,
        console=console,
        transient=True,
        disable=not console.is_terminal,
        # Over the whole run: in rich's half a minute a long training would not end even once.
        speed_estimate_period=_DAYS,
        get_time=get_time,
    )
