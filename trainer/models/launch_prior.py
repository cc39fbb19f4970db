"""What popularity an item with few events is expected to have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import scipy.sparse

from trainer.features.declaration import FIRST_ROW, MISSING, PADDING, UNKNOWN
from trainer.features.launch_prior import LEAST, Belief, learned, rates
from trainer.features.launches import Launches, Morning
from trainer.features.number_statistics import KNOTS
from trainer.keras2 import keras, tf

FEW = 20  # events from which on an item speaks for itself
CREDIT = 1.0  # events that the prior counts as
_AGES = np.array([1, 2, 3, 5, 8, 15, 29])  # where classes of age, in spans, begin
_EVENTS = np.array([1, 2, 5])  # and of events so far
_CLASSES = (len(_EVENTS) + 1) * (len(_AGES) + 1)


class _Unknown(keras.initializers.Initializer):
    """Mean and precision of a weight that nothing is known of, float32 [weights, 2]."""

    def __call__(self, shape: tuple[int, ...], dtype: tf.DType | None = None, **kwargs: object) -> tf.Tensor:
        return tf.tile(tf.constant([[0.0, LEAST]], dtype or tf.float32), [shape[0], 1])


class LaunchPrior(keras.layers.Layer):
    """count = memory * (CREDIT * rate(kind, age, events so far) + events * own rate) / (CREDIT + events).

    The own rate is the recent count over the exposure that the item has had, of what that count remembers: one that
    came yesterday had one span's time to be met. So an item without events is expected to get what those of its kind
    got, and each event of its own counts more than that (credibility: Bühlmann, "Experience rating and credibility",
    ASTIN Bulletin 4, 1967). An item of `FEW` events speaks for itself. The rate is learned from all items with fewer,
    day after day, on what was known of them in the morning.

    Args:
      items: rows of the item table.
      weights: feature name to how many weights it has: the rows of its words, or those of a number's curve.
    """

    def __init__(self, items: int, weights: Mapping[str, int]) -> None:
        super().__init__(dtype="float32")
        self.of = {
            name: self.add_weight(f"of_{name}", [count, 2], initializer=_Unknown(), trainable=False)
            for name, count in weights.items()
        }
        self.stage = self.add_weight("stage", [_CLASSES + 1, 2], initializer=_Unknown(), trainable=False)
        self.scale = self.add_weight("scale", [items], initializer="ones", trainable=False)
        self.expected = self.add_weight("expected", [items], initializer="zeros", trainable=False)

    def learn(
        self, launches: Launches, spans: Sequence[tuple[int, np.ndarray]], kinds: Sequence[scipy.sparse.csr_matrix]
    ) -> None:
        """Learns what items with few events got in each of `spans`, then foretells the one that is to be served.

        Args:
          launches: as of the last of them.
          spans: their numbers and how many events each item got, int64 [items]; in order.
          kinds: a feature each, [items, weights].
        """
        variables = [*self.of.values(), self.stage]
        both = np.concatenate([variable.numpy() for variable in variables]).astype(np.float64)
        belief, later = Belief(both[:, 0], both[:, 1]), np.zeros(len(launches.events), np.int64)
        for _, events in spans:
            later += events
        for number, events in spans:
            morning = launches.morning(number, later)
            rows = np.flatnonzero(morning.there & (morning.events < FEW))
            if len(rows):
                belief = learned(belief, _design(kinds, morning, rows), events[rows])
            later = later - events
        sizes = np.cumsum([variable.shape[0] for variable in variables])[:-1]
        for variable, part in zip(variables, np.split(np.stack(belief, axis=1), sizes), strict=True):
            variable.assign(part.astype(np.float32))
        morning = launches.morning(launches.following)
        rows = np.flatnonzero(morning.there & (morning.events < FEW))
        credit = np.zeros(len(morning.there))
        credit[rows] = CREDIT
        own = np.where(morning.events > 0, launches.memory / np.maximum(launches.exposure(morning), 1.0), 1.0)
        scale = own * np.divide(morning.events, credit + morning.events, out=np.ones(len(own)), where=credit > 0)
        expected = np.zeros(len(own))
        expected[rows] = rates(_design(kinds, morning, rows), belief.mean)
        expected *= launches.memory * credit / np.maximum(credit + morning.events, 1.0)
        self.scale.assign(scale.astype(np.float32))
        self.expected.assign(expected.astype(np.float32))

    def call(self, item: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
        """What float32 `count`s of recent events of int64 rows of items, of one shape, are taken for."""
        return tf.gather(self.scale, item) * count + tf.gather(self.expected, item)


def kinds_of_words(rows: np.ndarray, words: int) -> scipy.sparse.csr_matrix:
    """The share of each word in an item, [items, words], from int32 [items, slots] rows of words."""
    item, slot = np.nonzero(rows != PADDING)
    share = 1.0 / (rows != PADDING).sum(axis=1)[item]
    return scipy.sparse.csr_matrix((share, (item, rows[item, slot])), shape=(len(rows), words))


def kinds_of_numbers(values: np.ndarray, knots: np.ndarray) -> scipy.sparse.csr_matrix:
    """How near a number is to the two knots around it, [items, FIRST_ROW + KNOTS]: as `NumberFeature` interpolates."""
    knots = np.nan_to_num(knots, nan=0.0)
    item = np.arange(len(values))
    finite = np.isfinite(values)
    within = np.maximum(np.where(finite, values, 0.0), knots[0])
    left = np.clip(np.searchsorted(knots, within, side="right") - 1, 0, KNOTS - 2)
    width = knots[left + 1] - knots[left]
    share = np.clip(np.divide(within - knots[left], width, out=np.zeros(len(item)), where=width > 0), 0.0, 1.0)
    code = np.where(np.isnan(values), MISSING, np.where(values > 0, UNKNOWN, PADDING))
    column = np.concatenate([np.where(finite, FIRST_ROW + left, code), np.where(finite, FIRST_ROW + left + 1, code)])
    share = np.where(finite, share, 0.0)
    shape = (len(values), FIRST_ROW + KNOTS)
    return scipy.sparse.csr_matrix((np.concatenate([1.0 - share, share]), (np.tile(item, 2), column)), shape=shape)


def _design(kinds: Sequence[scipy.sparse.csr_matrix], morning: Morning, rows: np.ndarray) -> scipy.sparse.csr_matrix:
    """The kinds, the stage and a constant of some items, [n, weights]."""
    age = np.searchsorted(_AGES, morning.age[rows], side="right")
    stage = np.searchsorted(_EVENTS, morning.events[rows], side="right") * (len(_AGES) + 1) + age
    count = len(rows)
    place = (np.tile(np.arange(count), 2), np.concatenate([stage, np.full(count, _CLASSES)]))
    last = scipy.sparse.csr_matrix((np.ones(2 * count), place), shape=(count, _CLASSES + 1))
    return scipy.sparse.hstack([*(of[rows] for of in kinds), last]).tocsr()
