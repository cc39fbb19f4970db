"""What was counted rather than learned: which items occur close together, and which comes right after which."""

from __future__ import annotations

import numpy as np
import scipy.sparse

from trainer.input_pipeline import Sequences
from trainer.keras2 import keras, tf
from trainer.models.base import TableSizes
from trainer.models.catalogue_blocks import SparseScores
from trainer.replicas import copies

_REACH = 10  # events; what lies further apart is not counted as together
_LAST = 5  # of a history that are asked for their neighbours
_DECAY = 0.6  # an event's say against that of the one after it
_PRIOR = 5.0  # events that an item's neighbours are spread over in addition: what was seen once proves little
_FLOOR = 1e-3  # of a share, below which it counts as never seen


class Transitions(keras.layers.Layer):
    """Counts over all spans that the model has learned. Not trained: nothing that was counted is ever forgotten.

    Of each item the `neighbours` most counted are kept: a step to the next span costs what the span holds.

    * together: events of one key at most 10 apart, in either order, each pair counting 1 / distance;
    * following: the event right after.

    Item-to-item counts are the strongest of the simple methods on sessions (Ludewig and Jannach, "Evaluation of
    session-based recommendation algorithms", UMUAI 28, 2018, sections 3.1 and 5).
    """

    def __init__(self, sizes: TableSizes, neighbours: int) -> None:
        super().__init__(dtype="float32")
        self.items = sizes.items
        self.first_row = sizes.first_row
        self.together = Neighbours(sizes.items, neighbours)
        self.following = Neighbours(sizes.items, neighbours)
        self.counts = self.add_weight("counts", [sizes.items], initializer="zeros", trainable=False)

    def count(self, sequences: Sequences) -> None:
        """Adds the new events of `sequences`."""
        items = sequences.items
        owner = np.repeat(np.arange(len(sequences)), np.diff(sequences.splits))
        place = np.arange(len(items)) - sequences.splits[:-1][owner]
        new = (place >= sequences.first_new[owner]) & (items >= self.first_row)
        counted = np.bincount(items[new], minlength=self.items).astype(np.float32)
        self.counts.assign_add(counted)
        earlier, later, weight = [], [], []
        for distance in range(1, _REACH + 1):
            at = np.flatnonzero(new & (place >= distance))
            before = items[at - distance]
            pairs = (before >= self.first_row) & (before != items[at])
            earlier.append(before[pairs])
            later.append(items[at][pairs])
            weight.append(np.full(int(pairs.sum()), 1.0 / distance, np.float32))
        self.following.add(earlier[0], later[0], weight[0])
        earlier_item, other = np.concatenate(earlier), np.concatenate(later)
        both = np.concatenate(weight * 2)
        self.together.add(np.concatenate([earlier_item, other]), np.concatenate([other, earlier_item]), both)

    def call(self, history: tf.Tensor) -> tuple[SparseScores, SparseScores]:
        """How strongly int64 [b, h] histories, 0 in front, speak for the neighbours of their last items.

        Logarithms, because counts are spread over orders of magnitude.
        """
        recent = history[:, -_LAST:]
        age = tf.range(tf.shape(recent)[1] - 1, -1, -1)
        say = tf.cast(recent > 0, tf.float32) * _DECAY ** tf.cast(age, tf.float32)
        say /= tf.gather(self.counts, recent) + _PRIOR
        return self.together.spread(recent, say), self.following.spread(recent[:, -1:], say[:, -1:])


class Neighbours(keras.layers.Layer):
    """The rows and weights of each item's strongest neighbours, strongest first; weight 0 where there are fewer."""

    def __init__(self, items: int, most: int) -> None:
        super().__init__(dtype="float32")
        self.rows = self.add_weight("rows", [items, most], tf.int32, initializer="zeros", trainable=False)
        self.weights_ = self.add_weight("weights_", [items, most], initializer="zeros", trainable=False)
        self.items, self.most = items, most

    def add(self, item: np.ndarray, neighbour: np.ndarray, weight: np.ndarray) -> None:
        """Adds int64 [n] neighbours of int64 [n] items with float32 [n] weights; only those items are touched."""
        changed, item = np.unique(item, return_inverse=True)
        if not len(changed):
            return
        rows, weights = tf.gather(self.rows, changed).numpy(), tf.gather(self.weights_, changed).numpy()
        known = weights > 0
        owner = np.broadcast_to(np.arange(len(changed))[:, None], rows.shape)
        pairs = scipy.sparse.coo_matrix(
            (
                np.concatenate([weight, weights[known]]),
                (np.concatenate([item, owner[known]]), np.concatenate([neighbour, rows[known]])),
            ),
            shape=(len(changed), self.items),
        ).tocsr()
        owner = np.repeat(np.arange(len(changed)), np.diff(pairs.indptr))
        order = np.lexsort([pairs.indices, -pairs.data, owner])  # among equals the older item stays
        place = np.arange(pairs.nnz) - pairs.indptr[:-1][owner]
        kept = place < self.most
        rows[:], weights[:] = 0, 0
        rows[owner[kept], place[kept]] = pairs.indices[order][kept]
        weights[owner[kept], place[kept]] = pairs.data[order][kept]
        for table, values in ((self.rows, rows), (self.weights_, weights)):
            for each in copies(table):
                each.scatter_nd_update(changed[:, None], values)

    def spread(self, item: tf.Tensor, say: tf.Tensor) -> SparseScores:
        """The sums over int64 [b, n] items of `say` [b, n] times their neighbours' weights, as log(1 + sum / floor)."""
        rows = tf.cast(tf.gather(self.rows, item), tf.int64)
        weights = tf.gather(self.weights_, item) * say[:, :, None]
        first = tf.range(tf.shape(item, tf.int64)[0]) * self.items
        there = weights > 0
        cells = tf.boolean_mask(first[:, None, None] + rows, there)
        # Merged cell by cell: to fill a row of the catalogue with zeros would cost more than all the rest.
        cells, place = tf.unique(cells)
        total = tf.math.unsorted_segment_sum(tf.boolean_mask(weights, there), place, tf.size(cells))
        return SparseScores(tf.stack([cells // self.items, cells % self.items], axis=1), tf.math.log1p(total / _FLOOR))
