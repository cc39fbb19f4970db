"""Places for new items: the list in the graph, the list in NumPy and the rank at the gate follow one rule."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.bundle.kept_places import KeptPlaces, served
from serving.bundle.protocols import UNAVAILABLE
from trainer.metrics import rank_of
from trainer.models import kept_places

ITEMS = 9


def top(scores: np.ndarray, size: int) -> tuple[tf.Tensor, tf.Tensor]:
    best = tf.math.top_k(tf.constant(scores[None], tf.float32), size)
    return tf.cast(best.indices, tf.int64), best.values


@settings(deadline=None, max_examples=200)
@given(
    st.permutations(range(ITEMS)),
    st.lists(st.booleans(), min_size=ITEMS, max_size=ITEMS),
    st.lists(st.booleans(), min_size=ITEMS, max_size=ITEMS),
    st.integers(1, 3),
    st.integers(4, ITEMS),
)
def test_graph_reference_and_gate_agree(order, is_new, is_hidden, places, k):
    scores = np.where(is_hidden, UNAVAILABLE, np.array(order, np.float64))
    new = np.array(is_new)
    rule = KeptPlaces(new, places, k)
    expected = [row for row in rule.order(scores, new) if scores[row] > UNAVAILABLE]
    rows, values = served(top(scores, ITEMS), top(np.where(new, scores, UNAVAILABLE), places), tf.constant([k]))
    listed = rows.numpy()[0][values.numpy()[0] > UNAVAILABLE].tolist()
    assert listed == expected
    by_score = np.argsort(-scores)
    best_new = [row for row in by_score if new[row] and scores[row] > UNAVAILABLE][:places]
    assert set(best_new) <= set(expected[:k])
    others = [row for row in by_score if row not in best_new][: k - len(best_new)]
    assert [row for row in expected[:k] if row not in best_new] == [row for row in others if scores[row] > UNAVAILABLE]
    at_gate = kept_places.KeptPlaces(new, places, k)
    masked = tf.constant(scores[None], tf.float32)
    for place, row in enumerate(expected):
        target = tf.constant([row], tf.int64)
        rank = at_gate.rank(masked, target, rank_of(masked, target, 0))
        assert rank.numpy().tolist() == [place]


def test_a_shorter_list_keeps_its_places_too():
    scores, new = np.array([5.0, 4.0, 3.0, 2.0, 1.0]), np.array([False, False, False, False, True])
    for k, expected in ((2, [0, 4]), (3, [0, 1, 4]), (5, [0, 1, 2, 3, 4])):
        rows, _ = served(top(scores, 5), top(np.where(new, scores, UNAVAILABLE), 1), tf.constant([k]))
        assert rows.numpy()[0][:k].tolist() == expected


def test_an_item_that_the_model_lacks_has_the_worst_rank():
    at_gate = kept_places.KeptPlaces(np.array([False, True, True]), 1, 2)
    scores = tf.constant([[3.0, 2.0, 1.0]])
    target = tf.constant([7], tf.int64)
    assert at_gate.rank(scores, target, rank_of(scores, target, 0)).numpy().tolist() == [3]
