"""All policies and seeds over the same spans."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from pipeline import wiring
from pipeline.backtest import baseline
from pipeline.backtest.policies import Policy
from pipeline.backtest.policy_run import PolicyRun
from pipeline.backtest.row import Row, write_csv
from pipeline.backtest.spans import PreparedSpan, prepare
from pipeline.backtest.table import comparison
from pipeline.config import Config
from pipeline.deliveries import read_deliveries
from pipeline.spans import Naming

CSV_FILE = "backtest.csv"


class BacktestError(ValueError):
    """The backtest can't be run as asked; the message says why."""


def backtest(
    config: Config,
    policies: Sequence[Policy],
    console: Console,
    first: int | None = None,
    last: int | None = None,
    seeds: int = 1,
    folder: Path | None = None,
) -> list[Row]:
    """Replays the delivered spans from `first` to `last` under each policy, prints one table and writes one CSV file.

    Each span is tested, all its events, by the model that learned the spans before it, and is then learned. The first
    span has no model to be tested by. No gate stands in between: every candidate goes into service. A backtest that
    was cut off goes on at the span where it was.

    Args:
      config: where the spans lie, and how they become sequences.
      policies: what is compared.
      console: where the table goes; on a terminal a progress bar as well.
      first, last: span numbers; None for the first and last delivered.
      seeds: how many seeds, from `update.seed` on.
      folder: where everything is kept; None for `<root>/backtest`.

    Raises:
      BacktestError: fewer than two spans, or no seed.
      SpanError: the pipeline would refuse a span.
    """
    folder = config.root / "backtest" if folder is None else folder
    found = read_deliveries(config)
    wanted = {
        span: found[span]
        for span in sorted(found)
        if (first is None or span >= first) and (last is None or span <= last)
    }
    if len(wanted) < 2:
        raise BacktestError(
            f"A backtest must have at least two spans, one to learn and one to test. Received: {len(wanted)} in "
            f"{config.data.path}. Correct `--from` and `--to`, or `data.path` and `data.pattern`."
        )
    if seeds < 1:
        raise BacktestError(f"`seeds` must be at least 1. Received: {seeds}.")
    metrics = wiring.metric_names(config)
    rows: list[Row] = []
    with _progress(console) as progress:
        task = progress.add_task("reading", total=len(wanted))
        prepared = prepare(config, wanted, folder / "spans", lambda name: _step(progress, task, f"reading {name}"))
        progress.remove_task(task)
        if metrics == baseline.METRICS:
            task = progress.add_task(baseline.NAME, total=len(prepared) - 1)
            rows += baseline.most_popular(
                config, prepared, lambda name: _step(progress, task, f"{baseline.NAME} {name}")
            )
            progress.remove_task(task)
        runs = [(policy, policy.config.update.seed + number) for policy in policies for number in range(seeds)]
        work = [_work(policy, prepared) for policy, _ in runs]
        task = progress.add_task("training", total=sum(map(sum, work)))
        for number, (policy, seed) in enumerate(runs):
            before = sum(map(sum, work[:number]))

            def on_span(span: PreparedSpan, number: int = number, before: float = before) -> None:
                policy, seed = runs[number]
                done = before + sum(work[number][: prepared.index(span)])
                progress.update(task, completed=done, description=f"{policy.name}, seed {seed}, {span.name}")

            rows += PolicyRun(policy, seed, prepared, folder / "runs" / policy.name / f"seed-{seed}").run(on_span)
            write_csv(folder / CSV_FILE, rows, metrics)
    full = next((policy.name for policy in policies if policy.learn == "retrain"), None)
    console.print(comparison(rows, metrics, config.gate.k, full))
    naming = Naming(config.data.dated)
    console.print(
        f"{naming.format(min(wanted))} to {naming.format(max(wanted))}, all events of each span tested before they are "
        f"trained on. One line a span: {folder / CSV_FILE}",
        highlight=False,
        soft_wrap=True,
    )
    return rows


def _work(policy: Policy, spans: Sequence[PreparedSpan]) -> list[float]:
    """About how much each span costs, so that the time left is not that of the cheapest policy: a test is one unit."""
    most = policy.config.update.retrain_spans
    trained = {
        "never": lambda index: int(index == 0),
        "fine_tune": lambda index: 1,
        "retrain": lambda index: min(index + 1, most),
    }[policy.learn]
    return [1.0 + 3.0 * trained(index) for index in range(len(spans))]


def _step(progress: Progress, task: TaskID, description: str) -> None:
    progress.update(task, advance=1, description=description)


def _progress(console: Console) -> Progress:
    columns = (
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(),
        TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
