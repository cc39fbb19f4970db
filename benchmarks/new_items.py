"""Does content help items that nobody has met yet? Next-span recall by how many events an item had before.

    python -m benchmarks.new_items SETTINGS [--from DAY --to DAY] [--last 7]

SETTINGS must have a `catalogue` and `features.item`. Each span is learned from the champion of the span before, with
ids alone and then with more and more of the features, kind by kind, a row each; then, before the next span is learned,
its catalogue is taken in, as an export in its first hour would, and all its events are asked for. An event's item is
ranked among all items, on the `shelf` among those without events alone; chance is the length of the list over that of
the shelf. A text takes `encoders` in SETTINGS; each is encoded once for all rows.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from components.catalogue_gen.state import load_table
from pipeline.backtest.prepared_spans import PreparedSpan, prepare
from pipeline.config import Config, load_config
from pipeline.parameters.graph_parameters import GraphParameters
from pipeline.planning.deliveries import read_deliveries
from pipeline.spans import Naming
from trainer.features.declaration import ITEM, OF_NUMBERS, OF_VECTORS, OF_WORDS, WITHDRAWN, Feature
from trainer.input_pipeline import Sequences
from trainer.models.base import Recommender
from trainer.train_state import ModelState
from trainer.update import Span, update
from trainer.vocabulary import Vocabulary

BATCH = 256
GROUPS = ("none", "1-4", "5 and more")
IDS = "ids alone"
KINDS = {
    "categories": OF_WORDS,
    "numbers": OF_NUMBERS,
    "vectors": OF_VECTORS - {"text"},
    "text": OF_VECTORS - {"vector"},
}
Shares = dict[tuple[str, str], float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings", type=Path)
    parser.add_argument("--from", dest="first", help="the first day to learn")
    parser.add_argument("--to", dest="last_day", help="the last day to ask for")
    parser.add_argument("--last", type=int, default=7, help="how many days at the end the means are over")
    arguments = parser.parse_args()
    config = load_config(arguments.settings)
    naming = Naming(config.data.dated)
    begin, end = (None if day is None else naming.parse(day) for day in (arguments.first, arguments.last_day))
    every = read_deliveries(config)
    chosen = {n: of for n, of in every.items() if (begin is None or n >= begin) and (end is None or n <= end)}
    console = Console(width=110)
    with tempfile.TemporaryDirectory() as folder:
        spans = prepare(config, chosen, Path(folder) / "spans", lambda name: None)
        last = {
            name: list(next_spans(config, spans, features))[-arguments.last :]
            for name, features in variants(config.features.item).items()
        }
    ids = last[IDS]
    counts = [f"{statistics.mean(row[group, 'events'] for row in ids):.0f} a day" for group in GROUPS]
    table = Table(
        "items with", *(f"{group} events, {count}" for group, count in zip(GROUPS, counts, strict=True)), "none, shelf"
    )
    for name, rows in last.items():
        cells = [mean(rows, group, "everything") for group in GROUPS]
        table.add_row(name, *cells, mean(rows, "none", "shelf"))
    console.print(table)
    chance = mean(ids, "none", "chance")
    console.print(f"recall@{config.gate.k} over the last {arguments.last} days; on the shelf chance is {chance}")


def variants(features: Sequence[Feature]) -> dict[str, tuple[Feature, ...]]:
    """What each row learns from: ids alone, then the features of one kind after the other as well."""
    rows: dict[str, tuple[Feature, ...]] = {IDS: ()}
    for name, kinds in KINDS.items():
        if more := tuple(feature for feature in features if feature.kind in kinds):
            rows[f"+ {name}"] = (*tuple(rows.values())[-1], *more)
    return rows


def mean(rows: Sequence[Shares], group: str, how: str) -> str:
    """By events; a dash where there were none."""
    weights = [row[group, "events"] for row in rows if (group, how) in row]
    values = [row[group, how] for row in rows if (group, how) in row]
    return f"{np.average(values, weights=weights):.4f}" if sum(weights) else "-"


def next_spans(config: Config, spans: Sequence[PreparedSpan], features: Sequence[Feature]) -> Iterator[Shares]:
    """For each span but the first, what the model of the span before makes of it."""
    given = GraphParameters.of(config).trainer
    spec = dataclasses.replace(given.model, features=tuple(features))
    base: ModelState | None = None
    for span, following in itertools.pairwise(spans):
        known = span.item_features(spec.features)
        assert known is not None
        sizes = dataclasses.replace(span.sizes, words=known.sizes)
        learn = [Span(span.number, span.sequences)]
        base = update(
            spec, sizes, learn, span.select, span.popularity, given.policy, base, features=known
        ).state  # fmt: skip
        # The next span's catalogue, before its events.
        newer = following.item_features(spec.features)
        assert newer is not None
        more = following.sizes.items - len(known.learned)
        newer = dataclasses.replace(newer, learned=np.pad(known.learned, (0, more)))
        exported = update(
            spec,
            dataclasses.replace(following.sizes, words=newer.sizes),
            [],
            Sequences.empty().positions(),
            np.pad(span.popularity, (0, more)),
            given.policy,
            base,
            features=newer,
        )
        yield shares(exported.model, following, counts_of(span, more), newer.learned, config.gate.k)


def counts_of(span: PreparedSpan, more: int) -> np.ndarray:
    items = Vocabulary.load(span.folder / "vocabulary", "items")
    return np.concatenate([np.zeros(items.first_row, np.int64), items.counts, np.zeros(more, np.int64)])


def shares(model: Recommender, span: PreparedSpan, counts: np.ndarray, learned: np.ndarray, k: int) -> Shares:
    """recall@k by group: over everything, and of what has no events among its like."""
    items, first = Vocabulary.load(span.folder / "vocabulary", "items"), model.sizes.first_row
    catalogue = load_table(span.folder / "catalogue")
    assert catalogue is not None
    sold = catalogue[ITEM].filter(np.invert(catalogue[WITHDRAWN].to_numpy()))
    shelf = np.zeros(len(learned), bool)
    shelf[items.lookup(sold)] = True
    shelf &= ~learned
    shelf[:first] = False
    hits: dict[tuple[str, str], list[float]] = defaultdict(list)
    for positions in (span.sequences.positions(today_only=True), span.held_out):
        for batch in positions.dataset(BATCH, model.history_length):
            target = batch["item"].numpy()
            scores = model.score_all(batch["key"], batch["history"]).numpy()
            scores[:, :first] = -np.inf
            own = scores[np.arange(len(target)), target][:, None]
            listed, on_shelf = in_list(scores, own, k), in_list(scores[:, shelf], own, k)
            for place, row in enumerate(target):
                if row < first:
                    continue
                group = GROUPS[int(np.searchsorted([1, 5], counts[row], side="right"))]
                hits[group, "everything"].append(listed[place])
                if shelf[row]:
                    hits[group, "shelf"].append(on_shelf[place])
    events = {(group, "events"): float(len(hits[group, "everything"])) for group in GROUPS}
    chance = {("none", "chance"): min(1.0, k / max(1, shelf.sum()))}
    return {**{name: float(np.mean(hit)) for name, hit in hits.items() if hit}, **events, **chance}


def in_list(scores: np.ndarray, own: np.ndarray, k: int) -> np.ndarray:
    """How probable it is that each item is among the best k, float64 [b]: of equal scores any may come first."""
    better, equal = (scores > own).sum(axis=1), (scores == own).sum(axis=1)
    return np.clip((k - better) / np.maximum(equal, 1), 0.0, 1.0)


if __name__ == "__main__":
    main()
