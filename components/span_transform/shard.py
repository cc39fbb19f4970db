"""One shard of keys, from yesterday's history and today's events to files."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow as pa

from components.span_transform import examples, query_columns, sequences
from components.span_transform import history as history_lib
from components.span_transform.retirement import count_retired
from components.span_transform.settings import Settings
from components.span_transform.vocabulary_growth import Vocabularies
from trainer.features.feature_state import FeatureState
from trainer.held_out_parts import SELECT, VERDICT, in_verdict


@dataclasses.dataclass(frozen=True)
class Folders:
    """Where a span's transform reads and writes; `None` for a state that there is not yet."""

    sequences: str
    held_out: str
    vocabulary: str
    history: str
    yesterday_vocabulary: str | None
    yesterday_history: str | None
    catalogue: str | None = None


def transform_shard(
    train: pa.Table,
    held_out: pa.Table,
    shard: int,
    shards: int,
    span: int,
    folders: Folders,
    settings: Settings,
    today: Vocabularies,
    yesterday: Vocabularies,
    known: int = 0,
    ended_before: int | None = None,
) -> history_lib.Counts:
    """Transforms the events of one shard (`events.SCHEMA`, in file order) and writes its files.

    `known` events of the shard were left out before. Keys that nothing happened to are over, and left out, where their
    last event was before `ended_before` (see `history.ended_before`), and those whose id left the vocabulary today.
    """
    features = settings.query_features or ()
    old = history_lib.schema_of(features).empty_table()
    if folders.yesterday_history is not None:
        old = history_lib.read_shard(folders.yesterday_history, shard, shards, features)
    timelines, untouched = sequences.join(old, train, held_out)
    untouched = history_lib.without_ended(untouched, ended_before)
    if count_retired(today.keys, yesterday.keys):
        untouched = untouched.filter(pa.array(today.keys.trained_counts(untouched["key"]) > 0))
    state = FeatureState.load(folders.vocabulary, features)
    values = {
        of.vocabulary: query_columns.rows_of(timelines.query_features[of.vocabulary], of, state) for of in features
    }
    rows = examples.Rows.of(timelines, today, values)
    name = f"data_tfrecord-{shard:05d}-of-{shards:05d}.gz"

    cuts = sequences.cut_sequences(timelines, settings.length)
    batches = examples.sequence_batches(timelines, cuts, rows)
    written = examples.write_examples(Path(folders.sequences) / "Split-train" / name, batches)

    positions = sequences.cut_held_out(timelines, settings.length)
    of_key = np.bincount(positions.key, minlength=len(timelines.keys))
    judges = in_verdict(timelines.keys, of_key, settings.verdict_share)[positions.key]
    for part, chosen in ((SELECT, ~judges), (VERDICT, judges)):
        batches = examples.held_out_batches(timelines, positions.take(chosen), rows, yesterday, settings.cold_below)
        examples.write_examples(Path(folders.held_out) / f"Split-{part}" / name, batches)

    kept = sequences.cut_history(timelines, settings.length)
    counts = history_lib.Counts(
        span=span,
        new_events=int(np.isin(timelines.phases, (sequences.RELEASED, sequences.TRAIN)).sum()),
        held_out=len(positions.key),
        verdict=int(judges.sum()),
        sequences=written,
        known=known,
        keys=len(kept) + len(untouched),
        events=int(sum(history_lib.lengths(table["items"]).sum() for table in (kept, untouched))),
        until=max(history_lib.latest(table["timestamps"]) for table in (kept, untouched)),
    )
    path = Path(folders.history) / history_lib.shard_name(shard, shards)
    history_lib.write_shard(path, [kept, untouched], counts)
    return counts
