"""The sequential model: causal, the same from either form, and a learner of order."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.checks.small_data import random_sequences, sequences
from trainer.input_pipeline import Sequences
from trainer.keras2 import tf
from trainer.metrics import mask_scores
from trainer.models import ModelError, build_model
from trainer.models.base import TableSizes
from trainer.models.reversed_windows import reversed_windows
from trainer.models.sasrec import SasRec
from trainer.models.sequence_model import SequenceModel
from trainer.sequence_windows import Windows
from trainer.settings import ModelSpec, Policy, ReplaySettings, Stability
from trainer.update import Span, Update, update

SIZES = TableSizes(30, 4, 2)
LENGTH = 8
TINY = {"dimension": 8, "negatives": 5, "neighbours": 4}
EXACT = {**TINY, "negatives": 100, "dropout": 0.0, "item_dropout": 0.0, "reverse": False}
VARIANTS = {
    "raw": {},
    "projected": {"head": "projected"},
    "large": {"blocks": 2, "heads": 2, "inner": 4},
    "nothing counted": {"neighbours": 0},
    "forwards": {"reverse": False},
    "first revision": {"blocks": 2, "revision": 1},
    "hstu": {"type": "hstu", "blocks": 2, "heads": 2, "inner": 2},
    "hstu projected": {"type": "hstu", "head": "projected"},
}


def model(params: dict | None = None) -> SequenceModel:
    params = {**TINY, **(params or {})}
    built = build_model(params.pop("type", "sasrec"), SIZES, LENGTH, params)
    assert isinstance(built, SequenceModel)
    return built


def learned(params: dict) -> SequenceModel:
    """Blocks of a new model add nothing yet: these do."""
    built, random = model(params), np.random.default_rng(7)
    for block in built.blocks:
        for variable in block.trainable_variables:
            variable.assign(variable + random.normal(0, 0.3, variable.shape))
    return built


def train(
    spans: list[Sequences],
    params: dict,
    sizes: TableSizes = SIZES,
    base: Update | None = None,
    held_out: Sequences | None = None,
    **how,
) -> Update:
    policy = Policy(**{"epochs": 3, "batch_size": 16, "optimizer": "adam", "learning_rate": 0.01, **how})
    params = {**TINY, **params}
    return update(
        ModelSpec(params.pop("type", "sasrec"), params, LENGTH),
        sizes,
        [Span(number, span) for number, span in enumerate(spans)],
        (held_out or random_sequences(sizes, 10, seed=9)).positions(),
        np.ones(sizes.items),
        policy,
        base=base.state if base else None,
        memory=base.memory if base else None,
    )


@pytest.mark.parametrize("params", VARIANTS.values(), ids=VARIANTS)
def test_a_step_does_not_see_what_comes_after_it(params: dict) -> None:
    sasrec = learned(params)
    history = tf.constant([[3, 4, 5, 6, 7]], tf.int64)
    later = tf.constant([[3, 4, 5, 20, 21]], tf.int64)
    before, after = (sasrec._sessions(items, training=False).numpy()[0] for items in (history, later))
    np.testing.assert_allclose(before[:3], after[:3], rtol=1e-5)
    assert not np.allclose(before[3:], after[3:])


@pytest.mark.parametrize("params", VARIANTS.values(), ids=VARIANTS)
def test_padding_before_or_behind_changes_nothing(params: dict) -> None:
    sasrec = learned(params)
    plain, front, behind = (
        sasrec._sessions(tf.constant([items], tf.int64), training=False).numpy()[0]
        for items in ([3, 4, 5], [0, 0, 3, 4, 5], [3, 4, 5, 0, 0])
    )
    np.testing.assert_allclose(front[2:], plain, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(behind[:3], plain, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("type_", ["sasrec", "hstu"])
def test_one_pass_over_sequences_has_the_loss_of_all_positions(type_: str) -> None:
    span = random_sequences(SIZES, 40, seed=1)
    sasrec = learned({**EXACT, "type": type_})
    windows = Windows.of(span, LENGTH)
    total = sum(
        float(sasrec.compute_loss(batch, training=True)) * int((batch["item"].numpy() >= SIZES.first_row).sum())
        for batch in windows.dataset(16, shuffle_seed=1)
    )
    positions = span.positions()
    positions = positions.take(np.flatnonzero(positions.end > positions.begin))
    exact = sasrec.compute_loss(next(iter(positions.dataset(len(positions), LENGTH))))
    assert total / windows.positions == pytest.approx(float(exact), rel=1e-4)


def test_the_sampled_loss_is_near_the_exact_one() -> None:
    span = random_sequences(SIZES, 60, seed=1)
    batch = next(iter(Windows.of(span, LENGTH).dataset(1000, shuffle_seed=1)))
    tf.random.set_seed(3)
    exact = model(EXACT)
    sampled = model({**EXACT, "negatives": 10})
    sampled.set_popularity(np.bincount(span.items, minlength=SIZES.items).astype(np.float64))
    for exact_variable, other in zip(exact.trainable_variables, sampled.trainable_variables, strict=True):
        other.assign(exact_variable)
    losses = [float(sampled.compute_loss(batch, training=True)) for _ in range(50)]
    assert np.mean(losses) == pytest.approx(float(exact.compute_loss(batch, training=True)), rel=0.03)


def test_reversed_windows_hold_the_same_pairs_the_other_way_round() -> None:
    history = tf.constant([[3, 4, 5, 0], [6, 7, 8, 9]], tf.int64)
    item = tf.constant([[0, 5, 10, 0], [7, 8, 9, 11]], tf.int64)  # the pair (3, 4) was learned before
    weight = tf.constant([[0.0, 2, 3, 0], [4, 5, 6, 7]])
    back, target, counts = (tensor.numpy().tolist() for tensor in reversed_windows(history, item, weight, history))
    assert back == [[10, 5, 4, 0], [11, 9, 8, 7]]
    assert target == [[5, 4, 0, 0], [9, 8, 7, 6]]
    assert counts == [[3, 2, 0, 0], [7, 6, 5, 4]], "a pair counts as it counted forwards"


def test_an_order_is_learned() -> None:
    starts = np.random.default_rng(5).integers(0, 28, 200)
    span = sequences([(1, [2 + (start + step) % 28 for step in range(6)], 0) for start in starts])
    ahead = tf.constant([[0] * 6 + [10, 11], [0] * 5 + [20, 21, 22]], tf.int64)
    # A mean of item vectors is as near to the neighbours of the next item as to itself.
    for type_, head, best in (("sasrec", "projected", 1), ("sasrec", "raw", 3), ("hstu", "projected", 1)):
        params = {**EXACT, "type": type_, "head": head, "dimension": 16, "neighbours": 0}
        result = train([span], params, held_out=span, epochs=30, patience=99)
        scores = mask_scores(result.model.score_all(tf.ones(2, tf.int64), ahead), SIZES.first_row, seen=ahead)
        top = tf.math.top_k(scores, best).indices.numpy().tolist()
        assert 12 in top[0], (type_, head)
        assert 23 in top[1], (type_, head)


def test_without_a_history_the_popular_items_come_first() -> None:
    sasrec = model()
    sasrec.set_popularity(np.arange(SIZES.items, dtype=np.float64))
    scores = sasrec.score_all(tf.constant([1], tf.int64), tf.zeros([1, LENGTH], tf.int64)).numpy()[0]
    assert np.argsort(-scores)[:3].tolist() == [29, 28, 27]


def test_what_was_counted_grows_with_the_vocabulary_and_is_kept() -> None:
    first = train([sequences([(1, [4, 5], 0)] * 6)], {})
    grown = TableSizes(40, 4, 2)
    second = train([sequences([(1, [35, 36], 0)] * 6)], {}, sizes=grown, base=first)
    assert isinstance(second.model, SasRec)
    assert second.model.transitions is not None
    rows = second.model.transitions.following.rows.numpy()
    assert (rows[4, 0], rows[35, 0]) == (5, 36)
    assert not rows[30:35].any(), "a new item's neighbours start empty, not as a mean of row numbers"
    assert second.model.transitions.counts.numpy()[[5, 36]].tolist() == [6.0, 6.0]


def test_the_mixture_is_fitted_on_what_the_model_has_not_learned() -> None:
    """An untrained model expects the last item again; nobody here ever comes back to it."""
    learned = random_sequences(SIZES, 60, seed=3)
    away = sequences([(1, [item, 2 + (item + 11) % 28], 1) for item in range(2, 30)] * 5)
    spec, popularity = ModelSpec("sasrec", TINY, LENGTH), np.ones(SIZES.items)
    policy = Policy(epochs=1, batch_size=16, optimizer="adam", learning_rate=1e-4)

    def weight_of_the_learned(result: Update) -> float:
        assert isinstance(result.model, SasRec)
        return float(result.model.mixture.weights_.numpy()[0])

    nothing = away.positions().take(np.zeros(0, np.int64))
    assert weight_of_the_learned(update(spec, SIZES, [Span(1, learned)], away.positions(), popularity, policy)) < 0.5
    # Without a held-out part, on the new span before it is learned; on the first day there is none.
    cold = update(spec, SIZES, [Span(1, learned)], nothing, popularity, policy)
    assert weight_of_the_learned(cold) == 1.0
    warm = update(spec, SIZES, [Span(2, away)], nothing, popularity, policy, base=cold.state)
    assert weight_of_the_learned(warm) < 0.5


def test_replayed_sequences_are_learned_too() -> None:
    stability = Stability(replay=ReplaySettings(budget=20, fraction=0.5))
    first = train([random_sequences(SIZES, 30, seed=2)], {}, stability=stability)
    assert len(first.memory) == 20
    span = random_sequences(SIZES, 30, seed=4)
    # Span 0 is in the memory under its number: the next one has another.
    examples = {}
    for name, how in (("plain", {}), ("replay", {"stability": stability})):
        policy = Policy(epochs=3, batch_size=16, optimizer="adam", learning_rate=0.01, patience=9, **how)
        examples[name] = update(
            ModelSpec("sasrec", TINY, LENGTH), SIZES, [Span(1, span)], span.positions(), np.ones(SIZES.items), policy,
            base=first.state, memory=first.memory,
        ).examples  # fmt: skip
    assert examples["replay"] > examples["plain"]


@pytest.mark.parametrize(
    ("params", "message"),
    [({"head": "deep"}, "head"), ({"dimension": 9, "heads": 2}, "multiple"), ({"negatives": 0}, "negatives")],
)
def test_settings_that_make_no_sense_are_refused(params: dict, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        model(params)


def test_no_epoch_is_left_out() -> None:
    nothing = sequences([]).positions()
    span = random_sequences(SIZES, 150, seed=8)
    policy = Policy(epochs=6, batch_size=3, optimizer="adam", learning_rate=0.001)
    result = update(ModelSpec("sasrec", TINY, LENGTH), SIZES, [Span(1, span)], nothing, np.ones(SIZES.items), policy)
    windows = Windows.of(span, LENGTH)
    assert result.epochs == 6
    assert result.examples == 6 * windows.positions
    assert result.state.iterations == 6 * windows.batches(3)
