"""A mini-batch of events to what is learned and what judges: the maths of `SpanTransform`, in memory.

What is kept of a key is what the span's transform keeps, its last events, but for one thing: an event that judges is
context for the next one and never learned. So keys that judge have no place in the training at all, and what the
nightly transform held out of the last span is learned with the first events of its key, unless the key judges.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.span_transform import examples, query_columns, sequences, vocabulary_growth
from components.span_transform import history as history_lib
from components.span_transform.events import key_hashes, schema_of
from components.span_transform.known_events import repeated
from components.span_transform.settings import Settings
from components.span_transform.vocabulary_growth import Vocabularies
from trainer.features.feature_state import FeatureState
from trainer.held_out_parts import deals_to_verdict
from trainer.input_pipeline import Positions, Sequences


@dataclasses.dataclass(frozen=True)
class MicroBatch:
    """What became of a mini-batch.

    Attributes:
      sequences: what is learned.
      positions: what judges.
      keys: int64 [p], a number of the key of each position: the same in every batch, and no id.
      examples: the positions as the bundle's `evaluate` takes them.
      vocabularies, history: the state after it; `history` has a row for each key of the day.
      known: events that an earlier file, or the last span, had brought.
    """

    sequences: Sequences
    positions: Positions
    keys: np.ndarray
    examples: list[bytes]
    vocabularies: Vocabularies
    history: pa.Table
    known: int


class MicroTransform:
    """Transforms one mini-batch after the other; what the nightly history holds is read once.

    Args:
      history: the folder of the champion's span's history.
      vocabulary: likewise; the state of features lies there too, and stays as it is within the day.
      settings: of the transform.
      verdict_share: of the keys, see `deals_to_verdict`.
    """

    def __init__(self, history: Path, vocabulary: Path, settings: Settings, verdict_share: float) -> None:
        self._settings, self._share = settings, verdict_share
        self._features = settings.query_features or ()
        self._words = FeatureState.load(vocabulary, self._features)
        self._schema = history_lib.schema_of(self._features)
        shards = len(history_lib.shards_in(history))
        tables = [history_lib.read_shard(history, shard, shards, self._features) for shard in range(shards)]
        self._nightly = pa.concat_tables(tables).combine_chunks()

    def apply(self, events: pa.Table, span: int, history: pa.Table, vocabularies: Vocabularies) -> MicroBatch:
        """Transforms events (`span_transform.events.schema_of`) of a span, in the order of their times.

        Args:
          events: the mini-batch.
          span: the number of their span.
          history: of the keys of the day so far.
          vocabularies: grown by the mini-batches before.
        """
        keys = pc.unique(events["key"])
        old = self._of_keys(history, keys)
        known = repeated(events, old)
        events = events.filter(pa.array(~known))
        judges = deals_to_verdict(events["key"], self._share)
        train, held_out = (events.filter(pa.array(side)) for side in (~judges, judges))

        old = self._settled(old)
        timelines, _ = sequences.join(old, train, held_out)
        waiting = old.filter(pc.greater(old["held_out"], 0))
        counted = [vocabulary_growth.count_train(train, 0), vocabulary_growth.count_released(waiting)]
        grown = vocabulary_growth.grow(vocabularies, counted, max(span, vocabularies.items.span), self._settings)
        values = {
            of.vocabulary: query_columns.rows_of(timelines.query_features[of.vocabulary], of, self._words)
            for of in self._features
        }
        rows = examples.Rows.of(timelines, grown, values)
        length = self._settings.length
        cuts, positions = sequences.cut_sequences(timelines, length), sequences.cut_held_out(timelines, length)
        batches = examples.held_out_batches(timelines, positions, rows, vocabularies, self._settings.cold_below)
        return MicroBatch(
            sequences=_sequences(timelines, cuts, rows).in_rows(grown.numbering),
            positions=_positions(timelines, positions, rows).in_rows(grown.numbering),
            keys=key_hashes(timelines.keys)[positions.key],
            examples=[example for batch in batches for example in examples.encoded(batch)],
            vocabularies=grown,
            history=self._with(history, sequences.cut_history(timelines, length)),
            known=int(known.sum()),
        )

    def _of_keys(self, history: pa.Table, keys: pa.ChunkedArray) -> pa.Table:
        """What is known of `keys`: of the day, else of the nights before it."""
        of_day = history.filter(pc.is_in(history["key"], value_set=keys))
        nightly = self._nightly.filter(pc.is_in(self._nightly["key"], value_set=keys))
        nightly = nightly.filter(pc.invert(pc.is_in(nightly["key"], value_set=of_day["key"])))
        return pa.concat_tables([of_day.cast(self._schema), nightly]).combine_chunks()

    def _settled(self, old: pa.Table) -> pa.Table:
        """The history of keys that judge, none of whose events is ever learned here."""
        judges = deals_to_verdict(old["key"], self._share)
        waiting = np.where(judges, 0, old["held_out"].to_numpy())
        return old.set_column(old.schema.get_field_index("held_out"), "held_out", pa.array(waiting)).combine_chunks()

    def _with(self, history: pa.Table, changed: pa.Table) -> pa.Table:
        others = history.filter(pc.invert(pc.is_in(history["key"], value_set=changed["key"])))
        settled = changed.set_column(
            changed.schema.get_field_index("held_out"), "held_out", pa.array(np.zeros(len(changed), np.int64))
        )
        return pa.concat_tables([others, settled.select(self._schema.names).cast(self._schema)]).combine_chunks()


def empty_events(settings: Settings) -> pa.Table:
    """No event."""
    return schema_of(settings.query_features).empty_table()


def no_history(settings: Settings) -> pa.Table:
    """Of a day without any event yet."""
    return history_lib.schema_of(settings.query_features or ()).empty_table()


def _sequences(timelines: sequences.Timelines, cuts: sequences.Cuts, rows: examples.Rows) -> Sequences:
    at = sequences.spread(cuts.begin, cuts.end)
    return Sequences(
        items=_numpy(rows.items)[at],
        timestamps=_numpy(timelines.timestamps)[at],
        weights=_numpy(timelines.weights)[at],
        splits=np.concatenate([[0], np.cumsum(cuts.end - cuts.begin)]).astype(np.int64),
        key=_numpy(rows.keys)[cuts.key],
        first_new=cuts.first_new,
        first_today=cuts.first_today,
        query_features={name: values[at] for name, values in rows.query_features.items()},
    )


def _positions(timelines: sequences.Timelines, cuts: sequences.Cuts, rows: examples.Rows) -> Positions:
    items, sizes = _numpy(rows.items), cuts.end - cuts.begin
    splits = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    return Positions(
        items=items[sequences.spread(cuts.begin, cuts.end)],
        begin=splits[:-1],
        end=splits[1:],
        key=_numpy(rows.keys)[cuts.key],
        target=items[cuts.end],
        weight=_numpy(timelines.weights)[cuts.end],
        timestamp=_numpy(timelines.timestamps)[cuts.end],
        query_features={name: values[cuts.end] for name, values in rows.query_features.items()},
    )


def joined(parts: Sequence[Positions]) -> Positions:
    """The positions of several mini-batches, each over histories of its own."""
    first = np.cumsum([0, *(len(part.items) for part in parts)])
    names = ("key", "target", "weight", "timestamp")
    features = parts[0].query_features.keys()
    return Positions(
        items=np.concatenate([part.items for part in parts]),
        begin=np.concatenate([part.begin + start for part, start in zip(parts, first, strict=False)]),
        end=np.concatenate([part.end + start for part, start in zip(parts, first, strict=False)]),
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in names},
        query_features={name: np.concatenate([part.query_features[name] for part in parts]) for name in features},
    )


def compacted(positions: Positions) -> Positions:
    """The same, without the histories that none of them has."""
    sizes = positions.end - positions.begin
    splits = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    items = positions.items[sequences.spread(positions.begin, positions.end)]
    return dataclasses.replace(positions, items=items, begin=splits[:-1], end=splits[1:])


def _numpy(values: pa.Array) -> np.ndarray:
    return values.to_numpy(zero_copy_only=False)
