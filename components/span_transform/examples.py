"""Slices of timelines to gzipped TFRecord files of tf.Example."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder

from components.span_transform.sequences import Cuts, Integers, Timelines, spread
from components.span_transform.vocabulary_growth import Vocabularies
from trainer.atomic_write import atomic_write
from trainer.features.query_values import Values
from trainer.keras2 import tf
from trainer.vocabulary import Vocabulary

SLICES = pa.array([b"new", b"cold", b"warm"], pa.binary())
_BATCH = 4_096


@dataclasses.dataclass(frozen=True)
class Rows:
    """The numbers of the rows that the timelines' ids have today: `items` `[n]`, an event each, `keys` `[k]`.

    A number means the same id for good (see `trainer.row_numbers`), so that a later day can read what stands here.

    `query_features`: what is known of key and context at each event, see `trainer.features.query_values.Values`.
    """

    items: pa.Array
    keys: pa.Array
    query_features: Values = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, timelines: Timelines, today: Vocabularies, features: Values | None = None) -> Rows:
        numbers = [
            pa.array(vocabulary.row_numbers.of_rows(vocabulary.lookup(ids)))
            for vocabulary, ids in ((today.items, timelines.items.dictionary), (today.keys, timelines.keys))
        ]
        return cls(numbers[0].take(timelines.items.indices), numbers[1], features or {})


def sequence_batches(timelines: Timelines, cuts: Cuts, rows: Rows) -> Iterator[pa.RecordBatch]:
    """The Examples of `sequences`, a batch at a time."""
    for part in _parts(cuts):
        key, begin, end = pa.array(cuts.key[part]), cuts.begin[part], cuts.end[part]
        events = pa.array(spread(begin, end))
        yield _batch(
            {
                "key": _singles(timelines.keys.take(key)),
                "key_row": _singles(rows.keys.take(key)),
                "items": _lists(end - begin, rows.items.take(events)),
                "timestamps": _lists(end - begin, timelines.timestamps.take(events)),
                "weights": _lists(end - begin, timelines.weights.take(events)),
                "first_new": _singles(pa.array(cuts.first_new[part])),
                "first_today": _singles(pa.array(cuts.first_today[part])),
                **{name: _values(of, end - begin, spread(begin, end)) for name, of in rows.query_features.items()},
            }
        )


def held_out_batches(
    timelines: Timelines, cuts: Cuts, rows: Rows, yesterday: Vocabularies, cold_below: int
) -> Iterator[pa.RecordBatch]:
    """The Examples of `held_out`, a batch at a time."""
    item_slices = _slices(yesterday.items, timelines.items.dictionary, cold_below)
    key_slices = _slices(yesterday.keys, timelines.keys, cold_below)
    for part in _parts(cuts):
        key, begin, end = pa.array(cuts.key[part]), cuts.begin[part], cuts.end[part]
        event = pa.array(end)
        items = timelines.items.take(event)
        yield _batch(
            {
                "key": _singles(timelines.keys.take(key)),
                "key_row": _singles(rows.keys.take(key)),
                "history": _lists(end - begin, rows.items.take(pa.array(spread(begin, end)))),
                "item": _singles(items.dictionary_decode()),
                "item_row": _singles(rows.items.take(event)),
                "timestamp": _singles(timelines.timestamps.take(event)),
                "weight": _singles(timelines.weights.take(event)),
                "label": _singles(pa.array(np.ones(len(event), np.float32))),
                "item_slice": _singles(item_slices.take(items.indices)),
                "key_slice": _singles(key_slices.take(key)),
                **{name: _values(of, np.ones(len(end), np.int64), end) for name, of in rows.query_features.items()},
            }
        )


def write_examples(path: str | Path, batches: Iterator[pa.RecordBatch]) -> int:
    """Writes the batches, beside first, and returns how many Examples there were."""
    path = Path(path)
    # Beside the split's folder, whose every file a reader takes for a part of the split.
    beside = path.parent.parent / f".{path.parent.name}-{path.name}.{os.getpid()}"
    encoder, written = RecordBatchToExamplesEncoder(), 0
    # The fastest level: twice the speed of the default one for a fifth more bytes.
    options = tf.io.TFRecordOptions("GZIP", compression_level=1)
    with atomic_write(path, beside=beside), tf.io.TFRecordWriter(str(beside), options) as writer:
        for batch in batches:
            for example in encoded(batch, encoder):
                writer.write(example)
            written += batch.num_rows
    return written


def encoded(batch: pa.RecordBatch, encoder: RecordBatchToExamplesEncoder | None = None) -> Iterator[bytes]:
    """The Examples of a batch, serialised."""
    encoder = encoder or RecordBatchToExamplesEncoder()
    # An Example holds its features in a map, which is written in another order every time. Encoded one by one and
    # joined, which is how protocol buffers are merged, they have an order, and a rerun writes the same bytes.
    features = [
        encoder.encode(pa.RecordBatch.from_arrays([column], [name]))
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    ]
    return map(b"".join, zip(*features, strict=True))


def _slices(yesterday: Vocabulary, ids: pa.Array, cold_below: int) -> pa.Array:
    counts = yesterday.trained_counts(ids)
    return SLICES.take(pa.array(np.where(counts == 0, 0, np.where(counts < cold_below, 1, 2))))


def _parts(cuts: Cuts) -> Iterator[slice]:
    return (slice(start, start + _BATCH) for start in range(0, len(cuts.key), _BATCH))


def _batch(columns: dict[str, pa.Array]) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(list(columns.values()), list(columns))


def _values(values: np.ndarray, sizes: Integers, events: Integers) -> pa.Array:
    """What is known at `events`, in lists of the values of so many each."""
    chosen = values[events]
    return _lists(sizes * (values.shape[1] if values.ndim > 1 else 1), pa.array(chosen.reshape(-1)))


def _singles(values: pa.Array) -> pa.Array:
    return _lists(np.ones(len(values), np.int64), values)


def _lists(sizes: Integers, values: pa.Array) -> pa.Array:
    return pa.LargeListArray.from_arrays(pa.array(np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)), values)
