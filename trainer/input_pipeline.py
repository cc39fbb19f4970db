"""Reads training sequences and held-out positions, and feeds them to a model as `tf.data`.

A span is held in memory as flat arrays, and a batch is gathered from them by index: no parsing, no string and no
Python object in the inner loop. A span of n events costs about 40 bytes an event and 16 a remembered one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from trainer.features import query_values
from trainer.features.query_values import PREFIX, Values, with_values
from trainer.keras2 import tf
from trainer.row_numbers import Numbering

_INT = tf.io.RaggedFeature(tf.int64, row_splits_dtype=tf.int64)
_ONE_INT = tf.io.FixedLenFeature([], tf.int64)
_SEQUENCE_FEATURES = {
    "key_row": _ONE_INT,
    "items": _INT,
    "timestamps": _INT,
    "weights": tf.io.RaggedFeature(tf.float32, row_splits_dtype=tf.int64),
    "first_new": _ONE_INT,
    "first_today": _ONE_INT,
}
_HELD_OUT_FEATURES = {
    "key_row": _ONE_INT,
    "history": _INT,
    "item_row": _ONE_INT,
    "timestamp": _ONE_INT,
    "weight": tf.io.FixedLenFeature([], tf.float32),
    "item_slice": tf.io.FixedLenFeature([], tf.string),
    "key_slice": tf.io.FixedLenFeature([], tf.string),
}
_READ_BATCH = 8192


@dataclasses.dataclass(frozen=True)
class Positions:
    """Single predictions: given a key and the items before, which item comes?

    Attributes:
      items: int64 [n], the concatenated histories.
      begin, end: int64 [p], the history of a position is `items[begin:end]`, oldest first.
      key, target: int64 [p], rows of the key and of the item to predict.
      weight: float32 [p], the event's weight or rating.
      timestamp: int64 [p], unix milliseconds.
      query_features: of key and context at the event to predict, [p, ...]; of what was known before it comes.
    """

    items: np.ndarray
    begin: np.ndarray
    end: np.ndarray
    key: np.ndarray
    target: np.ndarray
    weight: np.ndarray
    timestamp: np.ndarray
    query_features: Values = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.target)

    def take(self, index: np.ndarray) -> Positions:
        """The positions at `index`, over the same histories."""
        chosen = {name: getattr(self, name)[index] for name in ("begin", "end", "key", "target", "weight", "timestamp")}
        return dataclasses.replace(self, **chosen, query_features=query_values.take(self.query_features, index))

    def in_rows(self, numbering: Numbering) -> Positions:
        """As they were read, with the rows of a vocabulary in the place of numbers."""
        items, keys = numbering.items, numbering.keys
        return dataclasses.replace(
            self, items=items.rows_of(self.items), target=items.rows_of(self.target), key=keys.rows_of(self.key)
        )

    def dataset(self, batch_size: int, history_length: int, shuffle_seed: int | None = None) -> tf.data.Dataset:
        """Batches of `key` [b], `history` [b, history_length] (0 in front), `item` [b], `weight` [b].

        Where there are features of key and context `key` is a mapping (see `query_values.with_values`). With
        `shuffle_seed` every epoch has another order, the same for the same seed.
        """
        items = tf.constant(np.append(self.items, 0))  # never empty, so that a gather has something to clip to
        begin, end = tf.constant(self.begin), tf.constant(self.end)
        key, target, weight = tf.constant(self.key), tf.constant(self.target), tf.constant(self.weight)
        features = {name: tf.constant(values) for name, values in self.query_features.items()}
        back = tf.range(-history_length, 0, dtype=tf.int64)

        @tf.autograph.experimental.do_not_convert
        def gather(index: tf.Tensor) -> dict[str, tf.Tensor]:
            at = tf.gather(end, index)[:, None] + back
            here = at >= tf.gather(begin, index)[:, None]
            return {
                "key": with_values(
                    tf.gather(key, index), {name: tf.gather(values, index) for name, values in features.items()}
                ),
                "history": tf.where(here, tf.gather(items, tf.maximum(at, 0)), 0),
                "item": tf.gather(target, index),
                "weight": tf.gather(weight, index),
            }

        data = tf.data.Dataset.range(len(self))
        if shuffle_seed is not None:
            data = data.shuffle(max(1, len(self)), seed=shuffle_seed)
        return data.batch(batch_size).map(gather, num_parallel_calls=2, deterministic=True).prefetch(2)


@dataclasses.dataclass(frozen=True)
class Sequences:
    """The training sequences of one span, or of several (see `span_transform`).

    Attributes:
      items, timestamps: int64 [n]; weights: float32 [n]; all sequences one after the other.
      splits: int64 [s + 1], sequence i is `items[splits[i]:splits[i + 1]]`.
      key, first_new, first_today: int64 [s].
      query_features: of key and context at each event, [n, ...]; of those that are not new perhaps "missing".
    """

    items: np.ndarray
    timestamps: np.ndarray
    weights: np.ndarray
    splits: np.ndarray
    key: np.ndarray
    first_new: np.ndarray
    first_today: np.ndarray
    query_features: Values = dataclasses.field(default_factory=dict)

    @classmethod
    def empty(cls) -> Sequences:
        """No sequence."""
        none, weights = np.zeros(0, np.int64), np.zeros(0, np.float32)
        return cls(none, none, weights, np.zeros(1, np.int64), none, none, none)

    def __len__(self) -> int:
        return len(self.key)

    @property
    def new_events(self) -> int:
        return int(np.sum(np.diff(self.splits) - self.first_new))

    def in_rows(self, numbering: Numbering) -> Sequences:
        """As they were read, with the rows of a vocabulary in the place of numbers."""
        return dataclasses.replace(
            self, items=numbering.items.rows_of(self.items), key=numbering.keys.rows_of(self.key)
        )

    def moved(self, numbering: Numbering, to: Numbering) -> Sequences:
        """The rows of one vocabulary as those of another."""
        return dataclasses.replace(
            self,
            items=numbering.items.moved(self.items, to.items),
            key=numbering.keys.moved(self.key, to.keys),
        )

    def positions(self, today_only: bool = False) -> Positions:
        """Every new position as one prediction; with `today_only`, those of the span's own events alone."""
        first = self.splits[:-1] + (self.first_today if today_only else self.first_new)
        count = self.splits[1:] - first
        owner = np.repeat(np.arange(len(self)), count)
        at = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + first[owner]
        return Positions(
            items=self.items,
            begin=self.splits[:-1][owner],
            end=at,
            key=self.key[owner],
            target=self.items[at],
            weight=self.weights[at],
            timestamp=self.timestamps[at],
            query_features=query_values.take(self.query_features, at),
        )

    def take(self, index: np.ndarray) -> Sequences:
        """The sequences at `index`, in that order."""
        length = np.diff(self.splits)[index]
        splits = np.concatenate([[0], np.cumsum(length)]).astype(np.int64)
        at = np.arange(splits[-1]) - np.repeat(splits[:-1], length) + np.repeat(self.splits[:-1][index], length)
        return Sequences(
            items=self.items[at],
            timestamps=self.timestamps[at],
            weights=self.weights[at],
            splits=splits,
            key=self.key[index],
            first_new=self.first_new[index],
            first_today=self.first_today[index],
            query_features=query_values.take(self.query_features, at),
        )


def concatenate(parts: Sequence[Sequences]) -> Sequences:
    """All sequences of `parts` as one, in order; of no part, no sequence."""
    parts = [*parts, Sequences.empty()]  # so that there is always something to concatenate
    lengths = np.concatenate([np.diff(part.splits) for part in parts])
    joined = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("items", "timestamps", "weights", "key", "first_new", "first_today")
    }
    features = query_values.concatenate([(len(part.items), part.query_features) for part in parts])
    return Sequences(
        splits=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), **joined, query_features=features
    )


def read_sequences(files: Sequence[str]) -> Sequences:
    """Reads gzipped TFRecord files of training sequences, in the order given; of no file, no sequence.

    Items and keys are numbers (see `trainer.row_numbers`), which `Sequences.in_rows` makes rows of.
    """
    of_features = _query_features(files)
    parsed = _read(files, {**_SEQUENCE_FEATURES, **of_features})
    count = sum(len(part.flat_values) for part in parsed["items"])
    return Sequences(
        items=_values(parsed["items"], np.int64),
        timestamps=_values(parsed["timestamps"], np.int64),
        weights=_values(parsed["weights"], np.float32),
        splits=_splits(parsed["items"]),
        key=_dense(parsed["key_row"], np.int64),
        first_new=_dense(parsed["first_new"], np.int64),
        first_today=_dense(parsed["first_today"], np.int64),
        query_features={name: _of_events(parsed[name], count) for name in of_features},
    )


def read_held_out(files: Sequence[str]) -> tuple[Positions, dict[str, np.ndarray]]:
    """Reads gzipped TFRecord files of held-out positions.

    Items and keys are numbers (see `trainer.row_numbers`), which `Positions.in_rows` makes rows of.

    Returns:
      The positions, and for each of `item_slice` and `key_slice` the slice of every position as bytes [p].
    """
    of_features = _query_features(files)
    parsed = _read(files, {**_HELD_OUT_FEATURES, **of_features})
    splits = _splits(parsed["history"])
    positions = Positions(
        items=_values(parsed["history"], np.int64),
        begin=splits[:-1],
        end=splits[1:],
        key=_dense(parsed["key_row"], np.int64),
        target=_dense(parsed["item_row"], np.int64),
        weight=_dense(parsed["weight"], np.float32),
        timestamp=_dense(parsed["timestamp"], np.int64),
        query_features={name: _of_events(parsed[name], len(splits) - 1) for name in of_features},
    )
    return positions, {name: _dense(parsed[name], object) for name in ("item_slice", "key_slice")}


def read_keys(files: Sequence[str]) -> np.ndarray:
    """The id of the key of each held-out position or training sequence, bytes [n], in the order they are read in."""
    return _dense(_read(files, {"key": tf.io.FixedLenFeature([], tf.string)})["key"], object)


def _query_features(files: Sequence[str]) -> Mapping[str, tf.io.RaggedFeature]:
    """What the Examples hold of key and context: each of a file all of it, so that the first says what there is."""
    for record in tf.data.TFRecordDataset(tf.constant(list(files), tf.string), compression_type="GZIP").take(1):
        first = tf.train.Example.FromString(record.numpy()).features.feature
        kinds = {name: of.WhichOneof("kind") for name, of in sorted(first.items()) if name.startswith(PREFIX)}
        return {
            name: tf.io.RaggedFeature(tf.float32 if kind == "float_list" else tf.int64, row_splits_dtype=tf.int64)
            for name, kind in kinds.items()
        }
    return {}


def _of_events(parts: list, count: int) -> np.ndarray:
    """Values of `count` events: numbers [n], rows of words [n, slots]."""
    values = _values(parts, np.int64)
    return values if values.dtype == np.float32 else values.reshape(count, -1)


def _read(files: Sequence[str], features: dict) -> dict[str, list]:
    names = tf.constant(list(files), tf.string)  # typed, because there may be none
    parsed: dict[str, list] = {name: [] for name in features}
    # Parsed outside the dataset: a function mapped over it would be traced once for every call.
    for records in tf.data.TFRecordDataset(names, compression_type="GZIP").batch(_READ_BATCH):
        for name, value in tf.io.parse_example(records, features).items():
            parsed[name].append(value)
    return parsed


def _values(parts: list, dtype: type) -> np.ndarray:
    return np.concatenate([part.flat_values.numpy() for part in parts] or [np.zeros(0, dtype)])


def _dense(parts: list, dtype: type) -> np.ndarray:
    return np.concatenate([part.numpy() for part in parts] or [np.zeros(0, dtype)])


def _splits(parts: list) -> np.ndarray:
    lengths = np.concatenate([part.row_lengths().numpy() for part in parts] or [np.zeros(0, np.int64)])
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
