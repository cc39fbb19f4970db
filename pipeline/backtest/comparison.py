"""All policies and seeds over the same spans."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from pipeline.backtest import retention
from pipeline.backtest.baseline_rows import baseline_rows
from pipeline.backtest.plots import draw_curves
from pipeline.backtest.policies import Policy
from pipeline.backtest.policy_run import PolicyRun
from pipeline.backtest.policy_selection import Winner, find_winner
from pipeline.backtest.prepared_spans import PreparedSpan, prepare
from pipeline.backtest.progress import Bar, make_progress
from pipeline.backtest.results import Row, write_rows
from pipeline.backtest.summary import summarize, write_summary
from pipeline.backtest.summary_table import comparison
from pipeline.backtest.tensorboard import write_events, write_experiment
from pipeline.config import Config
from pipeline.parameters.graph_parameters import GraphParameters
from pipeline.planning.deliveries import read_deliveries
from pipeline.spans import Naming

CSV_FILE, SUMMARY_FILE, PICTURE, EVENTS = "backtest.csv", "summary.csv", "backtest.png", "tensorboard"


class BacktestError(ValueError):
    """The backtest can't be run as asked; the message says why."""


@dataclasses.dataclass(frozen=True)
class Result:
    """All rows, and the policy to take; None if nothing was tested."""

    rows: list[Row]
    winner: Winner | None


def backtest(
    config: Config,
    policies: Sequence[Policy],
    console: Console,
    first: int | None = None,
    last: int | None = None,
    seeds: int = 1,
    folder: Path | None = None,
    retention_spans: int = retention.DEFAULT_SPANS,
) -> Result:
    """Replays the delivered spans from `first` to `last` under each policy, and prints one table.

    Each span is tested, all its events, by the model that learned the spans before it, and is then learned. The first
    span has no model to be tested by. At the end, older spans are tested once more, see `retention`. No gate stands in
    between: every candidate goes into service. A backtest that was cut off goes on at the span where it was.

    Written to `folder`: `backtest.csv`, a line a span; `summary.csv`, the table; `backtest.png`, the curves, and under
    `tensorboard` the same for TensorBoard.

    Args:
      config: where the spans lie, and how they become sequences.
      policies: what is compared.
      console: where the table goes; on a terminal a progress bar as well.
      first, last: span numbers; None for the first and last delivered.
      seeds: how many seeds, from `update.seed` on.
      folder: where everything is kept; None for `<root>/backtest`.
      retention_spans: how many older spans are tested again at the most; 0 for none.

    Raises:
      BacktestError: fewer than two spans, no seed, or a negative number of older spans.
      SpanError: the pipeline would refuse a span.
    """
    folder = config.root / "backtest" if folder is None else folder
    deliveries = read_deliveries(config)
    replayed_spans = {
        span: deliveries[span]
        for span in sorted(deliveries)
        if (first is None or span >= first) and (last is None or span <= last)
    }
    if len(replayed_spans) < 2:
        raise BacktestError(
            f"A backtest must have at least two spans, one to learn and one to test. Received: {len(replayed_spans)} "
            f"in {config.data.path}. Correct `--from` and `--to`, or `data.path` and `data.pattern`."
        )
    if seeds < 1:
        raise BacktestError(f"`seeds` must be at least 1. Received: {seeds}.")
    if retention_spans < 0:
        raise BacktestError(f"`retention-spans` must be at least 0. Received: {retention_spans}.")
    metrics, naming = GraphParameters.of(config).metrics, Naming(config.data.dated)
    rows: list[Row] = []
    with make_progress(console) as progress:
        bar = Bar(progress, len(replayed_spans))
        prepared = prepare(config, replayed_spans, folder / "spans", lambda name: _step(bar, f"reading {name}"))
        bar.remove()
        bar = Bar(progress, len(prepared) - 1)
        for of_baseline in baseline_rows(config, prepared, lambda name: _step(bar, f"baselines {name}")):
            write_events(folder / EVENTS, of_baseline, metrics, naming)
            rows += of_baseline
        bar.remove()
        differences = write_experiment(folder / EVENTS, policies, metrics)
        runs = [
            (policy, seed, PolicyRun(policy, seed, prepared, _run_folder(folder, policy, seed), retention_spans))
            for policy in policies
            for seed in range(policy.config.update.seed, policy.config.update.seed + seeds)
        ]
        done = sum(sum(_work(policy, prepared)[: run.done()]) for policy, _, run in runs)
        bar = Bar(progress, sum(sum(_work(policy, prepared)) for policy, _, _ in runs), done)
        for policy, seed, run in runs:
            work = dict(zip((span.name for span in prepared), _work(policy, prepared), strict=True))
            title = f"{policy.name}, seed {seed}"
            run_rows = run.run(
                lambda span, title=title: bar.show(f"{title}, {span.name}"),  # type: ignore[misc]
                lambda span, work=work: bar.advance(work[span.name]),  # type: ignore[misc]
            )
            rows += run_rows
            write_rows(folder / CSV_FILE, rows, metrics)
            write_events(folder / EVENTS, run_rows, metrics, naming, differences)
    full = next((policy.name for policy in policies if policy.learn == "retrain"), None)
    lines = summarize(rows, metrics, full)
    write_summary(folder / SUMMARY_FILE, lines, metrics)
    draw_curves(folder / PICTURE, rows, metrics, config.gate.k, naming)
    console.print(comparison(lines, metrics, config.gate.k))
    winner = find_winner(rows, metrics, config.gate.k)
    text = (
        f"{naming.format(min(replayed_spans))} to {naming.format(max(replayed_spans))}, all events of each span tested "
        f"before they are trained on.{'' if winner is None else f' {winner.why}'}\n"
        f"{CSV_FILE} (one line a span), {SUMMARY_FILE}, {PICTURE} and {EVENTS}/ lie in {folder}."
    )
    console.print(text, highlight=False, markup=False, soft_wrap=True)
    return Result(rows, winner)


def _run_folder(folder: Path, policy: Policy, seed: int) -> Path:
    return folder / "runs" / policy.name / f"seed-{seed}"


def _work(policy: Policy, spans: Sequence[PreparedSpan]) -> list[float]:
    """About how much each span costs, so that the time left is not that of the cheapest policy: a test is one unit."""
    most = policy.config.update.retrain_spans
    trained = {
        "never": lambda index: int(index == 0),
        "fine_tune": lambda index: 1,
        "retrain": lambda index: min(index + 1, most),
    }[policy.learn]
    return [1.0 + 3.0 * trained(index) for index in range(len(spans))]


def _step(bar: Bar, description: str) -> None:
    bar.show(description)
    bar.advance()
