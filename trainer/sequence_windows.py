"""Cuts training sequences into windows for models that take a loss at every step of one forward pass."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from trainer.features.query_values import Values, with_values
from trainer.input_pipeline import Sequences
from trainer.keras2 import tf
from trainer.sequence_augmentation import SequenceAugmentation, Steps

_SORTED_TOGETHER = 32  # batches; windows of a like length share a batch within so many, so that little is padding
_SHORTEST = 2  # steps of a window whose batch is padded


@dataclasses.dataclass(frozen=True)
class Windows:
    """Stretches of sequences, each of which predicts the next item at its steps.

    Window i reads `items[begin[i]:end[i]]` and is to predict `items[begin[i] + 1:end[i] + 1]`, of which those from
    `first[i]` on count: what stands before was learned with an older window and is context here.

    Attributes:
      items: int64 [n], all sequences one after the other; weights: float32 [n].
      begin, end, first, key: int64 [w].
      query_features: of key and context at each event, [n, ...].
    """

    items: np.ndarray
    weights: np.ndarray
    begin: np.ndarray
    end: np.ndarray
    first: np.ndarray
    key: np.ndarray
    query_features: Values = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, sequences: Sequences, length: int) -> Windows:
        """Windows of at most `length` inputs that predict every new event with an event before it exactly once.

        A sequence that is longer than a window is cut so that a window after the first is half context.
        """
        start, stop = sequences.splits[:-1], sequences.splits[1:]
        first = start + np.maximum(sequences.first_new, 1)
        some = first < stop
        begin, end, first, key = start[some], stop[some] - 1, first[some], sequences.key[some]
        long = end - begin > length
        if long.any():
            cut = [list(_cut(*window, length)) for window in zip(begin[long], end[long], first[long], strict=True)]
            pieces = np.array([piece for pieces in cut for piece in pieces], np.int64)
            begin, end, first, key = (
                np.concatenate([begin[~long], pieces[:, 0]]),
                np.concatenate([end[~long], pieces[:, 1]]),
                np.concatenate([first[~long], pieces[:, 2]]),
                np.concatenate([key[~long], np.repeat(key[long], [len(pieces) for pieces in cut])]),
            )
        return cls(sequences.items, sequences.weights, begin, end, first, key, sequences.query_features)

    def __len__(self) -> int:
        return len(self.begin)

    @property
    def targets(self) -> np.ndarray:
        """int64 [w], how many steps of each window count."""
        return self.end - self.first + 1

    @property
    def positions(self) -> int:
        return int(self.targets.sum())

    def events(self) -> tuple[np.ndarray, np.ndarray]:
        """The items of all windows, what they predict included, and the window of each, int64 [n]."""
        length = self.end - self.begin + 1
        owner = np.repeat(np.arange(len(self)), length)
        at = np.arange(len(owner)) - np.repeat(np.cumsum(length) - length, length) + self.begin[owner]
        return self.items[at], owner

    def batches(self, batch_size: int) -> int:
        """Batches in an epoch, the same in every one."""
        return min(len(self), max(1, round(self.positions / batch_size)))

    def dataset(
        self,
        batch_size: int,
        shuffle_seed: int,
        augmentation: SequenceAugmentation | None = None,
        longest: int | None = None,
    ) -> tf.data.Dataset:
        """Batches of about `batch_size` steps that count: `key` [b], `history`, `item` and `weight` [b, l].

        For each step of `history` the item to predict and its weight; 0 behind a window's end and where a step does
        not count. Where there are features `key` is a mapping, which holds those of each step, [b, l, ...]. With
        `augmentation`, which changes inputs and which steps count, there are `events` [b, l] too: what `history` is
        without it. With `longest`, the most steps of a window, b and l are of a few sizes (see `padded_size`), with 0
        in what is added.

        Every epoch has another order, and is augmented another way, the same for the same seed.
        """
        epoch = 0

        def batches() -> Iterator[dict[str, np.ndarray]]:
            nonlocal epoch
            random, drawn = (np.random.default_rng(seed) for seed in ([shuffle_seed, epoch], [shuffle_seed, epoch, 1]))
            epoch += 1
            for index in self._plan(batch_size, random):
                batch = self._gather(index) if augmentation is None else self._augmented(index, augmentation, drawn)
                yield batch if longest is None else _padded(batch, longest)

        ints = tf.TensorSpec([None, None], tf.int64)
        of_features = {
            name: tf.TensorSpec([None, None, *values.shape[1:]], values.dtype)
            for name, values in self.query_features.items()
        }
        spec = {
            "key": with_values(tf.TensorSpec([None], tf.int64), of_features),
            "history": ints,
            "item": ints,
            "weight": tf.TensorSpec([None, None], tf.float32),
            **({} if augmentation is None else {"events": ints}),
        }
        data = tf.data.Dataset.from_generator(batches, output_signature=spec)
        # Keras ends the training at an epoch that is shorter than the first.
        return data.apply(tf.data.experimental.assert_cardinality(self.batches(batch_size))).prefetch(4)

    def _plan(self, batch_size: int, random: np.random.Generator) -> list[np.ndarray]:
        order, count = random.permutation(len(self)), self.batches(batch_size)
        together = [min(_SORTED_TOGETHER, count - begin) for begin in range(0, count, _SORTED_TOGETHER)]
        plan: list[np.ndarray] = []
        for chunk, batches in zip(_shared_out(order, self.targets, together), together, strict=True):
            chunk = chunk[np.argsort(self.end[chunk] - self.begin[chunk], kind="stable")]
            parts = _shared_out(chunk, self.targets, [1] * batches)
            plan += [parts[i] for i in random.permutation(batches)]
        return plan

    def _augmented(
        self, index: np.ndarray, augmentation: SequenceAugmentation, random: np.random.Generator
    ) -> dict[str, np.ndarray]:
        plan = augmentation.plan(len(index), random)
        begin, end, first = augmentation.crop(plan, self.begin[index], self.end[index], self.first[index], random)
        windows = dataclasses.replace(self, begin=begin, end=end, first=first, key=self.key[index])
        batch = windows._gather(np.arange(len(index)))
        steps = Steps(batch["history"], batch["item"], batch["weight"])
        at = begin[:, None] + 1 + np.arange(batch["history"].shape[1])
        following = self.items[np.minimum(at, len(self.items) - 1)]
        changed = augmentation.change(plan, steps, following, random)
        return {**batch, **changed._asdict(), "events": batch["history"]}

    def _gather(self, index: np.ndarray) -> dict[str, np.ndarray]:
        begin, end, first = self.begin[index, None], self.end[index, None], self.first[index, None]
        at = begin + np.arange(int((end - begin).max()))
        counts = (at < end) & (at + 1 >= first)
        following = np.minimum(at + 1, len(self.items) - 1)
        return {
            "key": with_values(self.key[index], {name: of[following] for name, of in self.query_features.items()}),
            "history": np.where(at < end, self.items[np.minimum(at, len(self.items) - 1)], 0),
            "item": np.where(counts, self.items[following], 0),
            "weight": np.where(counts, self.weights[following], 0).astype(np.float32),
        }


def padded_size(count: int, least: int = 8) -> int:
    """The next power of two, from `least`: what is compiled for each size is compiled for few."""
    return max(least, 1 << (count - 1).bit_length())


def _padded(batch: dict[str, Any], longest: int) -> dict[str, Any]:
    rows, length = batch["history"].shape
    # Most sessions are short, and a compiled step takes a loss at what is added too.
    size = padded_size(rows), min(padded_size(length, least=_SHORTEST), longest)

    def grown(values: np.ndarray) -> np.ndarray:
        added = [(0, to - now) for to, now in zip(size, values.shape, strict=False)]
        return np.pad(values, added + [(0, 0)] * (values.ndim - len(added)))

    key = batch["key"]
    keys = {name: grown(of) for name, of in key.items()} if isinstance(key, Mapping) else grown(key)
    return {name: grown(of) if name != "key" else keys for name, of in batch.items()}


def _shared_out(order: np.ndarray, size: np.ndarray, shares: list[int]) -> list[np.ndarray]:
    """`order` cut where its sizes have reached each share of their sum; a part has at least as many as its share."""
    reached = np.cumsum(size[order])
    parts, begin = [], 0
    for number, done in enumerate(np.cumsum(shares)):
        end = int(np.searchsorted(reached, reached[-1] * done / sum(shares))) + 1
        end = min(max(end, begin + shares[number]), len(order) - sum(shares[number + 1 :]))
        parts.append(order[begin:end])
        begin = end
    return parts


def _cut(begin: int, end: int, first: int, length: int) -> Iterator[tuple[int, int, int]]:
    """Windows [begin, end) over the targets [first, end] of one long sequence."""
    while first <= end:
        stop = min(end, max(begin + length, first - 1 + (length + 1) // 2))
        yield max(begin, stop - length), stop, first
        first = stop + 1
