"""What becomes of items that nobody has met yet? Next-span recall by how many events an item had before.

    python -m benchmarks.new_items SETTINGS --results FOLDER [--from DAY --to DAY] [--last 60] [--seeds 1 2 3]

SETTINGS must have a `catalogue` and `features.item`. Each span is learned from the champion of the span before, with
features and launch prior, with features alone, with those of them that are `categories` or `numbers`, with categories
alone and with ids alone; then, before the next span is learned, its catalogue is taken in, as an export in its
first hour would, and all its events are asked for. A text takes `encoders` in SETTINGS; each is encoded once for all.
Beside the models stand two lists that are the same for everybody: `popularity`, each event counting half after
`vocabulary.half_life_spans`, and `expected`, the same with what the launch prior expects of items with few events.

`all` ranks an event's item among all items, those of its history left out as `push.exclude_seen` says; `shelf` among
those without events alone, and `chance` is the length of the list over the length of that shelf. What is done lies in
FOLDER: a run that was cut off goes on after its last day.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from components.catalogue_gen.state import load_table
from components.next_span_evaluator.slices import events_before
from pipeline.backtest.prepared_spans import PreparedSpan, prepare
from pipeline.config import Config, load_config
from pipeline.parameters.graph_parameters import GraphParameters
from pipeline.planning.deliveries import read_deliveries
from pipeline.spans import Naming
from trainer.features.declaration import ITEM, OF_NUMBERS, OF_WORDS, WITHDRAWN
from trainer.input_pipeline import Sequences
from trainer.models.base import Recommender
from trainer.settings import ModelSpec
from trainer.train_state import ModelState
from trainer.update import Span, update
from trainer.vocabulary import Vocabulary

BATCH = 256
GROUPS = ("0", "1-4", "5-19", "20-99", "100+")
KINDS = {"categories": OF_WORDS, "numbers": OF_WORDS | OF_NUMBERS}
VARIANTS = ("prior", "features", *reversed(KINDS), "ids")
EVERYBODY = ("popularity", "expected")
Row = Mapping[str, Any]  # of one span: `events`, `shelf_events`, `size`, and by ranking hits by group and on the shelf


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings", type=Path)
    parser.add_argument("--results", type=Path, required=True, help="where spans, models and figures are kept")
    parser.add_argument("--from", dest="first", help="the first day to learn")
    parser.add_argument("--to", dest="last_day", help="the last day to ask for")
    parser.add_argument("--last", type=int, default=60, help="how many days at the end the means are over")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=VARIANTS)
    arguments = parser.parse_args()
    config = load_config(arguments.settings)
    naming = Naming(config.data.dated)
    begin, end = (None if day is None else naming.parse(day) for day in (arguments.first, arguments.last_day))
    every = read_deliveries(config)
    wanted = {n: of for n, of in every.items() if end is None or n <= end}
    spans = prepare(config, wanted, arguments.results / "spans", lambda name: None)
    spans = [span for span in spans if begin is None or span.number >= begin]
    rows = {name: [] for name in (*arguments.variants, *EVERYBODY)}
    for seed, variant in itertools.product(arguments.seeds, arguments.variants):
        done = list(results(config, spans, variant, seed, arguments.results / f"{variant}-{seed}"))[-arguments.last :]
        rows[variant].append((variant, done))
        for name in EVERYBODY if variant == "prior" else ():
            rows[name].append((name, done))
        Console(width=130).print(table(rows, config.gate.k))


def table(rows: Mapping[str, Sequence[tuple[str, Sequence[Row]]]], k: int) -> Table:
    """Means over the seeds, with the standard deviation over them of what is over all events."""
    title = f"recall@{k}"
    shown = Table("", "all", *(f"{group} events" for group in GROUPS), "shelf", "of items", "chance", title=title)
    for name, seeds in rows.items():
        if not seeds:
            continue
        figures = np.array([recalls(ranking, done, k) for ranking, done in seeds])
        mean, deviation = figures.mean(axis=0), figures[:, 0].std()
        cells = [f"{value:.4f}" for value in mean[1:-2]]
        shown.add_row(name, f"{mean[0]:.4f} ± {deviation:.4f}", *cells, f"{mean[-2]:,.0f}", f"{mean[-1]:.4f}")
    return shown


def recalls(ranking: str, rows: Sequence[Row], k: int) -> list[float]:
    """Of everything, by group, on the shelf; the shelf's mean size and chance."""
    events, hits = (np.sum([np.array(row[name]) for row in rows], axis=0) for name in ("events", ranking))
    shelf = sum(row[f"{ranking}_shelf"] for row in rows) / max(1, sum(row["shelf_events"] for row in rows))
    sizes = [row["size"] for row in rows]
    chance = float(np.mean([min(1.0, k / max(1, size)) for size in sizes]))
    return [hits.sum() / events.sum(), *(hits / np.maximum(events, 1)), shelf, float(np.mean(sizes)), chance]


def results(config: Config, spans: Sequence[PreparedSpan], variant: str, seed: int, folder: Path) -> Iterator[Row]:
    """A row for each span but the first, those that `folder` has first."""
    folder.mkdir(parents=True, exist_ok=True)
    kept, state = folder / "rows.jsonl", folder / "state"
    rows = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    yield from rows
    given = GraphParameters.of(config).trainer
    policy = dataclasses.replace(given.policy, seed=seed)
    spec = of_variant(given.model, variant)
    base = ModelState.load(state) if rows else None
    for span, following in itertools.pairwise(spans[len(rows) :]):
        known, newer = span.item_features(spec.features), following.item_features(spec.features)
        assert known is not None
        assert newer is not None
        assert known.launches is not None
        assert newer.launches is not None
        sizes, learn = dataclasses.replace(span.sizes, words=known.sizes), [Span(span.number, span.sequences)]
        base = update(spec, sizes, learn, span.select, span.popularity, policy, base, features=known).state
        # The next span's catalogue, before its events.
        more = following.sizes.items - len(known.learned)
        launches = newer.launches.known_by(known.launches)
        newer = dataclasses.replace(newer, learned=np.pad(known.learned, (0, more)), launches=launches)
        sizes, nothing = dataclasses.replace(following.sizes, words=newer.sizes), Sequences.empty().positions()
        popularity = np.pad(span.popularity, (0, more))
        model = update(spec, sizes, [], nothing, popularity, policy, base, features=newer).model
        rankings = {"popularity": popularity} if variant == "prior" else {}
        if rankings:
            rankings["expected"] = model.log_popularity(np.arange(sizes.items)).numpy()  # type: ignore[attr-defined]
        row = hits_of(config, variant, model, rankings, following, launches.events, newer.learned)
        base.save(state)
        with kept.open("a") as file:
            file.write(json.dumps({"span": following.name, **row}) + "\n")
        yield row


def of_variant(spec: ModelSpec, variant: str) -> ModelSpec:
    if variant == "ids":
        return dataclasses.replace(spec, features=())
    features = spec.features or ()
    if kinds := KINDS.get(variant):
        features = tuple(feature for feature in features if feature.kind in kinds)
    return dataclasses.replace(spec, features=features, params={**spec.params, "launch_prior": variant == "prior"})


def hits_of(
    config: Config,
    variant: str,
    model: Recommender,
    rankings: Mapping[str, np.ndarray],
    span: PreparedSpan,
    counts: np.ndarray,
    learned: np.ndarray,
) -> Row:
    """Hits of the model and of each of `rankings`, which are float [items], by group and on the shelf."""
    items, first, k = Vocabulary.load(span.folder / "vocabulary", "items"), model.sizes.first_row, config.gate.k
    catalogue = load_table(span.folder / "catalogue")
    assert catalogue is not None
    shelf = np.zeros(len(learned), bool)
    shelf[items.lookup(catalogue[ITEM].filter(np.invert(catalogue[WITHDRAWN].to_numpy())))] = True
    shelf &= ~learned & (np.arange(len(learned)) >= first)
    names = (variant, *rankings)
    hits, on_shelf = {name: np.zeros(len(GROUPS)) for name in names}, dict.fromkeys(names, 0.0)
    events, shelf_events = np.zeros(len(GROUPS)), 0
    for positions in (span.sequences.positions(today_only=True), span.held_out):
        for batch in positions.dataset(BATCH, model.history_length):
            target, history = batch["item"].numpy(), batch["history"].numpy()
            there = target >= first
            target, place = target[there], np.arange(int(there.sum()))
            group = [GROUPS.index(label.decode()) for label in events_before(counts, target)]
            events += np.bincount(group, minlength=len(GROUPS))
            shelf_events += int(shelf[target].sum())
            every = {variant: model.score_all(batch["key"], batch["history"]).numpy()[there]}
            for name, scores in {
                **every,
                **{name: np.tile(of, (len(target), 1)) for name, of in rankings.items()},
            }.items():
                own = scores[place, target][:, None]
                scores[:, :first] = -np.inf
                if config.push.exclude_seen:
                    scores[place[:, None], history[there]] = -np.inf
                    scores[place, target] = own[:, 0]
                hits[name] += np.bincount(group, in_list(scores, own, k), len(GROUPS))
                on_shelf[name] += float(in_list(scores[:, shelf], own, k)[shelf[target]].sum())
    return {
        "events": events.tolist(),
        "shelf_events": shelf_events,
        "size": int(shelf.sum()),
        **{name: of.tolist() for name, of in hits.items()},
        **{f"{name}_shelf": of for name, of in on_shelf.items()},
    }


def in_list(scores: np.ndarray, own: np.ndarray, k: int) -> np.ndarray:
    """How probable it is that each item is among the best k, float64 [b]: of equal scores any may come first."""
    better, equal = (scores > own).sum(axis=1), (scores == own).sum(axis=1)
    return np.clip((k - better) / np.maximum(equal, 1), 0.0, 1.0)


if __name__ == "__main__":
    main()
