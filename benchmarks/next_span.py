"""Is the champion better than what was popular last week? Next-span recall against a baseline on the same events.

    python -m benchmarks.next_span SETTINGS [--from DAY --to DAY] [--last 7]

Runs the days that are not done yet through the pipeline, then prints, for every day, the champion's recall@k on all of
the day's events before anything trained on them (from the ledger), and that of "the most popular items of the last
seven days" on the same clean events. Both leave out what is among the key's last `history.length` items; the baseline
knows every event up to midnight, the champion all but the last tenth of the evening before.
"""

from __future__ import annotations

import argparse
import statistics
from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pipeline.config import Config, load_config
from pipeline.ledger.runs import read_ledger
from pipeline.spans import Naming

WINDOW = 7

Event = tuple[bytes, bytes]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings", type=Path)
    parser.add_argument("--from", dest="first", help="the first day to run")
    parser.add_argument("--to", dest="last_day", help="the last day to run")
    parser.add_argument("--last", type=int, default=7, help="how many days at the end the means are over")
    arguments = parser.parse_args()
    config = load_config(arguments.settings)
    _run(config, arguments.first, arguments.last_day)
    ledger = read_ledger(config)
    baseline = popular_recall([list(_events(config, run.span)) for run in ledger], config.gate.k, config.history.length)
    table = Table("span", "events", f"champion recall@{config.gate.k}", f"popular recall@{config.gate.k}")
    pairs = []
    for run, popular in zip(ledger, baseline, strict=True):
        recall = run.next_span.get("recall")
        if recall is not None:
            pairs.append((recall, popular))
        table.add_row(run.name, str(run.events), "-" if recall is None else f"{recall:.4f}", f"{popular:.4f}")
    console = Console(width=100)
    console.print(table)
    champion, popular = (statistics.mean(column) for column in zip(*pairs[-arguments.last :], strict=True))
    better = sum(pair > other for pair, other in pairs[-arguments.last :])
    console.print(
        f"mean of the last {arguments.last} days: champion {champion:.4f}, most popular of the last {WINDOW} days "
        f"{popular:.4f}, ratio {champion / popular:.3f}, better on {better} of {arguments.last} days"
    )


def popular_recall(days: list[list[Event]], k: int, history: int) -> list[float]:
    """recall@k, for each day, of the most popular items of the `WINDOW` days before, without the key's last items."""
    seen: dict[bytes, deque[bytes]] = defaultdict(lambda: deque(maxlen=history))
    recalls = []
    for number, day in enumerate(days):
        counts = Counter(item for before in days[max(0, number - WINDOW) : number] for _, item in before)
        ranked = [item for item, _ in sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))[: k + history]]
        hits = 0
        for key, item in day:
            hits += item in [item for item in ranked if item not in seen[key]][:k]
            seen[key].append(item)
        recalls.append(hits / len(day))
    return recalls


def _run(config: Config, first: str | None, last: str | None) -> None:
    from pipeline.orchestration.daily_run import run_steps
    from pipeline.planning.deliveries import read_deliveries
    from pipeline.planning.run_plan import make_plan

    naming = Naming(config.data.dated)
    begin, end = (None if name is None else naming.parse(name) for name in (first, last))
    run_steps(config, make_plan(read_ledger(config), read_deliveries(config), naming, begin, end), Console())


def _events(config: Config, span: int) -> Iterator[Event]:
    """(key, item) of the span's clean events, in the order of time, as SpanExampleGen wrote them."""
    import tensorflow as tf
    from ml_metadata.metadata_store import metadata_store

    from pipeline.metadata_store.connection import connection_config

    store = metadata_store.MetadataStore(connection_config(config))
    examples = [
        artifact
        for artifact in store.get_artifacts_by_type("Examples")
        if artifact.custom_properties["span"].int_value == span and "rejects" in artifact.custom_properties
    ]
    files = sorted(str(path) for path in Path(examples[-1].uri).glob("Split-*/*.gz"))
    rows = []
    for record in tf.data.TFRecordDataset(files, compression_type="GZIP").as_numpy_iterator():
        features = tf.train.Example.FromString(record).features.feature
        rows.append(
            (
                features["timestamp"].int64_list.value[0],
                features["key"].bytes_list.value[0],
                features["item"].bytes_list.value[0],
            )
        )
    rows.sort(key=lambda row: row[0])
    return ((key, item) for _, key, item in rows)


if __name__ == "__main__":
    main()
