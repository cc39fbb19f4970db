"""What a model must do from span to span: learn, from the same seed the same, and lose nothing on the way."""

from __future__ import annotations

import numpy as np

from trainer.checks.expectation import expect, expect_close
from trainer.checks.recommender_case import (
    GROWN,
    HISTORY,
    SIZES,
    RecommenderCase,
    arrays_of,
    first_span,
    requests,
)
from trainer.checks.small_data import random_sequences, sequences
from trainer.early_stopping import held_out_loss
from trainer.keras2 import keras, tf
from trainer.models.base import table_of
from trainer.train_state import named_variables
from trainer.training_batches import make_training_batches


def check_gradients_reach_tables(case: RecommenderCase) -> None:
    """Each trainable table is learned from a batch."""
    model = case.trained()
    tables = {path: v for path, v in named_variables(model).items() if v.trainable and table_of(model, path)}
    span = first_span()
    span.weights[:] = 1.0 + np.arange(len(span.weights)) % 3  # of ratings that are all alike there is nothing to learn
    batch = next(iter(make_training_batches(model, span, 64, HISTORY, seed=1).data))
    with tf.GradientTape() as tape:
        loss = model.compute_loss(batch, training=True)
    for path, gradient in tape.gradient(loss, tables).items():
        values = 0.0 if gradient is None else tf.convert_to_tensor(getattr(gradient, "values", gradient)).numpy()
        expect(
            np.any(values),
            "A loss must have a gradient for every trainable variable that `tables` names.",
            f"{'none' if gradient is None else 'only zeros'} for `{path}`",
            "Let the loss use it, or build it with `trainable=False`.",
        )


def check_loss_falls(case: RecommenderCase) -> None:
    """On what can be learned: after row i comes row i + 1, and its weight is the row's number."""
    model, rows = case.build(), np.arange(SIZES.first_row, SIZES.items)
    span = sequences([(int(row) % SIZES.keys, np.roll(rows, -row)[:HISTORY], 1) for row in rows])
    span.weights[:] = span.items
    model.set_popularity(np.bincount(span.items, minlength=SIZES.items).astype(np.float64))
    model.observe(span)
    model.compile(optimizer=keras.optimizers.Adagrad(0.05, initial_accumulator_value=1e-6))
    losses = []
    for epochs in (1, 15):
        model.fit(make_training_batches(model, span, 32, HISTORY, 1).data, epochs=epochs, verbose=0)
        losses.append(held_out_loss(model, span.positions(), HISTORY))
    expect(
        losses[1] < losses[0],
        "The loss must fall on what a model trains on.",
        f"{losses[0]:.5g} after the first epoch, {losses[1]:.5g} after 15 more",
        "Look at the sign of the loss, and whether `training=False` measures what `training=True` trains.",
    )


def check_weights_are_what_is_said(case: RecommenderCase) -> None:
    """The events' weights change what is learned unless they are `unused`; in a `loss` they are those of a mean."""
    role = type(case.build()).weight_role(case.params)
    expect(
        role in ("loss", "label", "unused"),
        "`weight_role(params)` must say what the events' weights are to the model: `loss`, `label` or `unused`.",
        repr(role),
        "Take `loss` where the loss is a mean by them, `label` where they are predicted.",
    )
    if role == "unused":
        return
    span = first_span()
    # A label may be whether there is any weight; of a loss those of 0 have a check of their own.
    span.weights[:] = np.arange(len(span.weights)) % 3 + (role == "loss")
    learned, alike = case.train(span).state, case.first.state
    expect(
        any(np.any(learned.weights[path] != values) for path, values in alike.weights.items()),
        f"A model whose `weight_role` is `{role}` must learn something else when the events' weights are others.",
        "the same weights and tables",
        "Use `batch['weight']` in `compute_loss` while training, as `trainer.metrics.weighted_mean` does.",
    )
    if role == "loss":
        _expect_mean_by_weights(case)


def _expect_mean_by_weights(case: RecommenderCase) -> None:
    model, batch = case.trained(), requests()
    places = np.arange(len(batch["item"]))
    some = np.where(places % 3, places, 0.0)

    def loss(weight: np.ndarray) -> np.ndarray:
        tf.random.set_seed(1)
        weighted = {**batch, "weight": tf.constant(weight, tf.float32)}
        return tf.convert_to_tensor(model.compute_loss(weighted, training=False)).numpy()

    rule = "Where `weight_role` is `loss`, `compute_loss(batch, training=False)` must be a mean by the events' weights"
    then = "Take `trainer.metrics.weighted_mean(losses, batch['weight'])`."
    alike = loss(np.ones(len(places)))
    expect(loss(some) != alike, f"{rule}.", f"{alike}, whatever the weights are", then)
    expect_close(loss(np.full(len(places), 3.0)), alike, f"{rule}: three times as large, they are the same.", then)
    expect_close(loss(some - (places % 3 == 0)), loss(some), f"{rule}, those below 0 taken for 0.", then)
    expect_close(loss(np.zeros(len(places))), np.zeros([], np.float32), f"{rule}, and 0 where all of them are.", then)


def check_same_seed_same_result(case: RecommenderCase) -> None:
    """Trained twice from one seed, every weight and slot is the same, bit for bit."""
    left, other = case.first.state, case.train(first_span()).state
    for path, values in arrays_of(left).items():
        expect_close(
            arrays_of(other)[path],
            values,
            f"The same seed must give the same weights; `{path}` differs.",
            "Draw random numbers by TensorFlow, NumPy or `random` without a generator or a seed of your own.",
            rtol=0,
        )


def check_state_is_whole(case: RecommenderCase) -> None:
    """A model that is built again from the saved state scores as the one that was trained."""
    batch = requests()
    expect_close(
        case.trained().score_all(batch["key"], batch["history"]).numpy(),
        case.first.model.score_all(batch["key"], batch["history"]).numpy(),
        "A model must score the same when it is built again from its variables.",
        "What it has learned or counted must be in variables (`add_weight(..., trainable=False)`), nowhere else.",
    )


def check_warm_start_keeps_what_was_learned(case: RecommenderCase) -> None:
    """With larger tables and a span without events, old rows and their slots are those of the day before."""
    base = case.first.state
    grown = case.train(sequences([]), GROWN, base, number=2).state
    for path, values in arrays_of(base).items():
        variable = path.partition("|")[0]
        if variable in base.slots:  # what is learned, not told or counted
            carried = arrays_of(grown)[path]
            expect_close(
                carried[: len(values)] if table_of(case.first.model, variable) else carried,
                values,
                f"A span without events must leave what was learned as it was; `{path}` changed.",
                "Row numbers never change: write to no variable but where the model learns, is told or counts.",
                rtol=0,
            )


def check_a_second_span_is_learned(case: RecommenderCase) -> None:
    """With larger tables, on top of the first."""
    base = case.first.state
    second = case.train(random_sequences(GROWN, 40, seed=2), GROWN, base, number=2)
    expect(
        np.isfinite(second.train_loss) and np.isfinite(second.watched),
        "The losses of a second span must be finite.",
        f"{second.train_loss} while training, {second.watched} on the held-out part",
        "Look at what rows that are new start from.",
    )
    batch = requests()
    scores = second.model.score_all(batch["key"], batch["history"])
    expect(
        tuple(scores.shape) == (24, GROWN.items),
        "`score_all` must score every row of the grown vocabulary.",
        f"{tuple(scores.shape)} for 24 requests and {GROWN.items} rows",
        "Take the number of rows from `self.sizes.items`.",
    )


ALL = (
    check_gradients_reach_tables,
    check_loss_falls,
    check_weights_are_what_is_said,
    check_same_seed_same_result,
    check_state_is_whole,
    check_warm_start_keeps_what_was_learned,
    check_a_second_span_is_learned,
)
