"""What baselines without training reach on a folder of spans, each tested on a span before it is told of it.

    python -m benchmarks.baselines SETTINGS [--from SPAN --to SPAN] [--last 60] [--baseline NAME ...] [--half-life 2]
        [--own-items frequent] [--include-seen] [--name NAME] [--results FOLDER]
    python -m benchmarks.baselines DATA --sessions [--cycles 1-16] [--results FOLDER]

The first form replays the spans of a settings file as `warmspan backtest` does: all events of a span, all items of the
catalogue, means over the tested spans, the last ones of them with `--last`. With `--include-seen` a history's items are
not left out, whatever `push.exclude_seen` says. The second form tests by the protocol of `continual_sessions`, in
percent, all events of a span at one time and the spans a week apart.

With `--results` the figures go into the file `baselines.json` of that folder, under the name.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.continual_sessions import chosen_cycles
from benchmarks.session_spans import SessionSpans, read_spans
from pipeline.backtest.baseline_rows import baseline_rows
from pipeline.backtest.baselines.base import Baseline
from pipeline.backtest.baselines.ranks import ranks
from pipeline.backtest.baselines.registry import make_baselines
from pipeline.backtest.prepared_spans import prepare
from pipeline.config import Config, load_config, with_settings
from pipeline.config.backtest import Backtest
from pipeline.planning.deliveries import read_deliveries
from pipeline.spans import Naming
from trainer.input_pipeline import Positions, Sequences

NAMES = ("most_popular", "half_life", "own_items", "cooccurrence", "sequential_rules", "v_sknn")
_WEEK = 7 * 86_400_000  # milliseconds
_AT_ONCE = 1000  # positions
Figures = dict[str, dict[str, float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="a settings file, or with --sessions a folder of data")
    parser.add_argument("--from", dest="first")
    parser.add_argument("--to", dest="last_span")
    parser.add_argument("--last", type=int, help="how many spans at the end the means are over; all if not given")
    parser.add_argument("--baseline", action="append", choices=NAMES)
    parser.add_argument("--half-life", type=float)
    parser.add_argument("--own-items", choices=("recent", "frequent"))
    parser.add_argument("--sample-size", type=int)
    parser.add_argument("--nearest", type=int)
    parser.add_argument("--include-seen", action="store_true")
    parser.add_argument("--sessions", action="store_true")
    parser.add_argument("--cycles")
    parser.add_argument("--kept", type=Path, help="where prepared spans are kept; nowhere if not given")
    parser.add_argument("--name", help="of the figures; that of the folder or the settings if not given")
    parser.add_argument("--results", type=Path)
    arguments = parser.parse_args()
    changed = {
        name: value for name in ("half_life", "own_items", "sample_size", "nearest")
        if (value := getattr(arguments, name)) is not None
    }  # fmt: skip
    if arguments.sessions:
        settings = Backtest(baselines=tuple(arguments.baseline or NAMES), **changed)
        spans = read_spans(arguments.source / "events", "session_id", "item_id", "timestamp")
        name = arguments.name or f"{arguments.source.name}, sessions"
        figures = of_sessions(spans, settings, chosen_cycles(arguments.cycles, spans.count - 1))
    else:
        config = load_config(arguments.source)
        if arguments.include_seen:
            config = with_settings(config, {"push": {"exclude_seen": False}}, "The benchmark")
        chosen = arguments.baseline or [of for of in NAMES if of != "own_items" or not config.push.exclude_seen]
        changes = {"backtest": {**changed, "baselines": chosen}}
        config = with_settings(config, changes, "The benchmark")
        name = arguments.name or config.name
        with tempfile.TemporaryDirectory() as folder:
            kept = arguments.kept or Path(folder)
            figures = of_spans(config, arguments.first, arguments.last_span, arguments.last, kept)
    for baseline, values in figures.items():
        print(name, baseline, {metric: round(value, 4) for metric, value in values.items()}, flush=True)
    if arguments.results is not None:
        _write(arguments.results / "baselines.json", name, figures)


def of_spans(config: Config, first: str | None, last: str | None, over: int | None, folder: Path) -> Figures:
    """Means over the tested spans, or over the `over` last of them, of each baseline."""
    naming, deliveries = Naming(config.data.dated), read_deliveries(config)
    begin, end = (None if name is None else naming.parse(name) for name in (first, last))
    replayed = {
        span: deliveries[span]
        for span in sorted(deliveries)
        if (begin is None or span >= begin) and (end is None or span <= end)
    }
    prepared = prepare(config, replayed, folder, lambda name: None)
    figures = {}
    for rows in baseline_rows(config, prepared, lambda name: None, over):
        tested = [row for row in rows if row.events]
        figures[rows[0].policy] = {
            **{name: statistics.fmean(row.metrics[name] for row in tested) for name in tested[0].metrics},
            "spans": len(tested),
            "events": sum(row.events for row in tested),
        }
    return figures


def of_sessions(spans: SessionSpans, settings: Backtest, cycles: Sequence[int]) -> Figures:
    """Means over `cycles` of recall and MRR at 20 in percent."""
    figures: Figures = {}
    for baseline in make_baselines(settings, "days"):
        rows = []
        for cycle in range(1, max(cycles) + 1):
            baseline.learn(at_week(spans.sequences(cycle - 1), cycle))
            if cycle in cycles:
                rows.append(_tested(baseline, spans.test_positions(cycle), spans.items_until(cycle - 1)))
        metrics = {name: statistics.fmean(row[name] for row in rows) for name in rows[0]}
        figures[baseline.name] = {**metrics, "spans": len(rows)}
    return figures


def at_week(sequences: Sequences, week: int) -> Sequences:
    """With keys that do not come back, and every event of a span at one time; the first event is learned too."""
    return dataclasses.replace(
        sequences,
        timestamps=np.full(len(sequences.items), week * _WEEK, np.int64),
        key=week * 10_000_000 + np.arange(len(sequences), dtype=np.int64),
        first_new=np.zeros(len(sequences), np.int64),
    )


def _tested(baseline: Baseline, asked: Positions, items: int) -> dict[str, float]:
    asked = dataclasses.replace(
        asked, key=np.full(len(asked), -1, np.int64), begin=np.maximum(asked.begin, asked.end - 20)
    )
    parts = [asked.take(np.arange(at, min(at + _AT_ONCE, len(asked)))) for at in range(0, len(asked), _AT_ONCE)]
    rank = 1 + np.concatenate([ranks(baseline.scores(part, items), part, 2, exclude_seen=False) for part in parts])
    return {"recall@20": 100 * float(np.mean(rank <= 20)), "mrr@20": 100 * float(np.mean((rank <= 20) / rank))}


def _write(path: Path, name: str, figures: Figures) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    known = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**known, name: {**known.get(name, {}), **figures}}, indent=1) + "\n")


if __name__ == "__main__":
    main()
