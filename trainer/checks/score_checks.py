"""What a trained model must be to be gated, explained and served."""

from __future__ import annotations

import tempfile

import numpy as np

from trainer.checks.expectation import CheckError, expect, expect_close, expect_finite
from trainer.checks.recommender_case import HISTORY, SIZES, RecommenderCase, first_span, requests
from trainer.keras2 import tf
from trainer.models.base import Recommender, table_of
from trainer.train_state import named_variables
from trainer.training_batches import make_training_batches

_K = 3
_RANKING = ("recall", "ndcg", "mrr", "auc")  # metrics that an item without a row earns nothing of
_CANDIDATES = np.random.default_rng(1).integers(0, SIZES.items, [24, 6])


def check_score_all_scores_every_row(case: RecommenderCase) -> None:
    """A finite float32 for every request and row, whatever the history is."""
    scores = _scores(case.trained())
    expect(
        (scores.shape, scores.dtype) == ((24, SIZES.items), np.float32),
        "`score_all(key, history)` must give a float32 for every request and every row of items.",
        f"{scores.dtype} of shape {scores.shape} for 24 requests and {SIZES.items} rows",
        "Score the rows below `sizes.first_row` too: warmspan leaves them out of answers.",
    )
    expect_finite(
        scores,
        "Every score must be finite, for a request without a history too.",
        "Where a sum over the history is divided by its length, take `tf.math.divide_no_nan`.",
    )


def check_score_agrees_with_score_all(case: RecommenderCase) -> None:
    """Candidates score as they do among all."""
    model = case.trained()
    expect_close(
        _some_scores(model),
        np.take_along_axis(_scores(model), _CANDIDATES, axis=1),
        "`score(key, history, candidates)` must agree with `score_all`.",
        "Leave `score` out, and the scores are gathered from `score_all`.",
    )


def check_a_request_is_scored_by_itself(case: RecommenderCase) -> None:
    """The same request gets the same scores again, and whatever else is in its batch."""
    model, batch = case.trained(), requests()
    together = _scores(model)
    then = "Score with `training=False`, and take no statistics over the batch: a server mixes requests."
    expect_close(_scores(model), together, "A request must be scored the same when it comes again.", then)
    alone = [model.score_all(batch["key"][i : i + 1], batch["history"][i : i + 1]).numpy() for i in range(8)]
    rule = "A request must be scored the same alone and in a batch."
    expect_close(np.concatenate(alone), together[:8], rule, then)


def check_padding_says_nothing(case: RecommenderCase) -> None:
    """What row 0 holds has no say in the score of any item, where there is a history."""
    model = case.trained()
    some = requests()["history"].numpy().any(axis=1)
    before = _scores(model)[some, SIZES.first_row :]
    for path, variable in named_variables(model).items():
        if table_of(model, path) == "items" and variable.dtype.is_floating:
            values = variable.numpy()
            values[0] += 7.0
            variable.assign(values)
    expect_close(
        _scores(model)[some, SIZES.first_row :],
        before,
        "Row 0 is padding, and must have no say in the score of an item.",
        "Leave out of sums over the history the places where it is 0.",
    )


def check_metrics_are_those_named(case: RecommenderCase) -> None:
    """What `metric_names` says is what `evaluate_positions` gives."""
    model = case.trained()
    names, metrics = set(type(model).metric_names(case.params)), _metrics(model, {})
    expect(
        set(metrics) == names,
        "`metric_names(params)` must name what `evaluate_positions` gives: the gate is set up by these names.",
        f"{sorted(metrics)} for {sorted(names)}",
        "Override both or neither.",
    )
    for name, values in metrics.items():
        rule = f"`evaluate_positions` must give a finite `{name}` for every position."
        expect(values.shape == (24,), rule, f"shape {values.shape} for 24 positions", "Return no mean.")
        expect_finite(values, rule, "What can't be measured earns nothing: 0.")


def check_rows_that_came_later_are_out_of_vocabulary(case: RecommenderCase) -> None:
    """The champion is asked about tomorrow's rows, which it does not have."""
    model, batch = case.trained(), requests()
    there = batch["history"].numpy() > 0
    both = [{"key": np.full(24, row), "history": np.where(there, row, 0)} for row in (10_000, 1)]
    rule = "A row that a model lacks must be taken for row 1, which is out of vocabulary, by `evaluate_positions`."
    then = "Put keys and histories through `self.known(rows, size)` first."
    try:
        later, unknown = (_metrics(model, columns) for columns in both)
    except tf.errors.InvalidArgumentError as error:
        raise CheckError(f"{rule} Received: {error.message}. {then}") from error
    for name, values in later.items():
        expect_close(values, unknown[name], rule, then)


def check_padding_is_never_recommended(case: RecommenderCase) -> None:
    """An item that has no row of its own can't be in an answer, so that no model earns anything by it."""
    model = case.trained()
    for row in (0, 1, 10_000):
        for name, values in _metrics(model, {"item": np.full(24, row)}).items():
            rule = f"A position whose item has no row of its own must be a miss, and its `{name}` finite."
            then = "Mask scores with `trainer.metrics.mask_scores`, and rank with `rank_of`."
            expect_finite(values, rule, then)
            missed = name not in _RANKING or not values.any()
            expect(missed, rule, f"{values.max()} for item row {row}", then)


def check_score_batch_has_a_row_a_position(case: RecommenderCase) -> None:
    """What distillation compares: a training batch's positions, each with the same candidates."""
    model = case.trained()
    batch = next(iter(make_training_batches(model, first_span(), 16, HISTORY, seed=1).data))
    scores = model.score_batch(batch, tf.range(SIZES.first_row, SIZES.items, dtype=tf.int64)).numpy()
    expected = (int(np.count_nonzero(batch["item"])), SIZES.items - SIZES.first_row)
    rule = "`score_batch(batch, candidates)` must give a finite score for each position and candidate."
    expect(
        scores.shape == expected,
        rule,
        f"shape {scores.shape} for {expected[0]} positions and {expected[1]} candidates",
        "A model over sequences must override it: a position is a step whose `item` is not 0, row by row.",
    )
    expect_finite(scores, rule, "Look at what is divided by, and what a logarithm is taken of.")


def check_a_request_has_a_vector(case: RecommenderCase) -> None:
    """What herding chooses by, where the model has `represent`."""
    model, batch = case.trained(), requests()
    if hasattr(model, "represent"):
        vectors = model.represent(batch["key"], batch["history"]).numpy()
        rule = "`represent(key, history)` must give a finite vector for each request."
        then = "Give the last step's, or leave `represent` out: herding alone needs it."
        expect(vectors.ndim == 2 and len(vectors) == 24, rule, f"shape {vectors.shape} for 24 requests", then)
        expect_finite(vectors, rule, then)


def check_shares_add_up(case: RecommenderCase) -> None:
    """The terms of a score, where the model has `shares`, are the score."""
    model, batch = case.trained(), requests()
    scores = _scores(model)
    for i in range(0, 24, 5):
        item = int(batch["item"][i])
        shares = model.shares(*(batch[name][i : i + 1] for name in ("key", "history", "item")))
        if shares is None:
            return
        then = "What has its origin outside of the history belongs in `rest`."
        rule = "The terms that `shares` gives must add up to the item's score, with one for each place of the history."
        expect(shares.events.shape == (HISTORY,), rule, f"{shares.events.shape} for {HISTORY} places", then)
        expect_close(np.array(shares.total), scores[i, item].astype(np.float64), rule, then)
        nothing = not shares.events[batch["history"][i].numpy() == 0].any()
        expect(nothing, "The term of padding must be 0.", shares.events, then)


def check_freeze_changes_no_score(case: RecommenderCase) -> None:
    """What is served scores as what was gated."""
    model = case.trained()
    every, some = _scores(model), _some_scores(model)
    model.freeze()
    rule, then = "`freeze` must change no score.", "Compute ahead what `score_all` and `score` compute, no more."
    expect_close(_scores(model), every, rule, then)
    expect_close(_some_scores(model), some, rule, then)


def check_dot_product_is_as_declared(case: RecommenderCase) -> None:
    """`vectors` says what a frozen model's `dot_product` is; `whole` is the scores themselves."""
    model, batch = case.trained(), requests()
    model.freeze()
    product = model.dot_product
    kind = "none" if product is None else "whole" if product.whole else "part"
    expect(
        model.vectors == kind,
        "`vectors` must say how much of the scores is a product of vectors: an index is chosen by it before training.",
        f"{model.vectors!r} of a model whose `dot_product`, once it is frozen, is {kind!r}",
        f"Set `vectors = {kind!r}`.",
    )
    if product is not None and product.whole:
        vectors = product.items.vectors(tf.range(SIZES.items))
        expect_close(
            tf.matmul(product.query(batch["key"], batch["history"]), vectors, transpose_b=True).numpy(),
            _scores(model),
            "A `dot_product` that is whole must be the scores.",
            "Set `whole=False` and `vectors = 'part'` if something is added to it.",
        )


def check_exported_and_loaded_it_scores_the_same(case: RecommenderCase) -> None:
    """As a SavedModel, which knows nothing of the class."""
    model, batch = case.trained(), requests()
    model.freeze()
    rule = "A frozen model's `score_all` must be a graph that a SavedModel can hold."
    then = "Use TensorFlow's operations alone: no NumPy, and no Python branch on what a tensor holds."
    requested = tf.TensorSpec([None], tf.int64, "key"), tf.TensorSpec([None, HISTORY], tf.int64, "history")
    exported = tf.Module()
    try:
        exported.score_all = tf.function(model.score_all, input_signature=requested, autograph=False)
        exported.parameters = list(exported.score_all.get_concrete_function().graph.variables)
        with tempfile.TemporaryDirectory() as folder:
            tf.saved_model.save(exported, folder)
            loaded = tf.saved_model.load(folder)
            scores = loaded.score_all(batch["key"], batch["history"]).numpy()
    except Exception as error:  # whatever the model's own code raises when it is given no values
        raise CheckError(f"{rule} Received: {type(error).__name__}: {error} {then}") from error
    expect_close(scores, _scores(model), "An exported model must score as it did before.", then)


def _scores(model: Recommender) -> np.ndarray:
    batch = requests()
    return model.score_all(batch["key"], batch["history"]).numpy()


def _some_scores(model: Recommender) -> np.ndarray:
    batch = requests()
    return model.score(batch["key"], batch["history"], tf.constant(_CANDIDATES)).numpy()


def _metrics(model: Recommender, columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The metrics of `requests`, some of whose columns are others."""
    batch = requests() | {name: tf.constant(values, tf.int64) for name, values in columns.items()}
    asked = (batch["key"], batch["history"], batch["item"], batch["weight"])
    return {name: values.numpy() for name, values in model.evaluate_positions(*asked, k=_K, exclude_seen=True).items()}


ALL = (
    check_score_all_scores_every_row,
    check_score_agrees_with_score_all,
    check_a_request_is_scored_by_itself,
    check_padding_says_nothing,
    check_metrics_are_those_named,
    check_rows_that_came_later_are_out_of_vocabulary,
    check_padding_is_never_recommended,
    check_score_batch_has_a_row_a_position,
    check_a_request_has_a_vector,
    check_shares_add_up,
    check_freeze_changes_no_score,
    check_dot_product_is_as_declared,
    check_exported_and_loaded_it_scores_the_same,
)
