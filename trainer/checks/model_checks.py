"""What a model must be before it learns: built as told, with named variables and tables that grow."""

from __future__ import annotations

import numpy as np

from trainer.checks.expectation import CheckError, expect, expect_finite
from trainer.checks.recommender_case import GROWN, HISTORY, SIZES, RecommenderCase, first_span
from trainer.checks.small_data import sequences
from trainer.keras2 import tf
from trainer.models.base import Recommender, TableSizes, table_of
from trainer.train_state import StateError, named_variables
from trainer.training_batches import make_training_batches

_NO_ITEM = TableSizes(items=3, keys=3, first_row=3)


def check_is_built_as_told(case: RecommenderCase) -> None:
    """The model knows the sizes and the history length that it was given."""
    model = case.build()
    expect(
        (model.sizes, model.history_length) == (SIZES, HISTORY),
        "A model must keep the `sizes` and the `history_length` that it is built with.",
        f"{model.sizes} and {model.history_length} for {SIZES} and {HISTORY}",
        "Call `super().__init__(sizes, history_length)` with what `__init__` was given.",
    )


def check_variables_have_names(case: RecommenderCase) -> None:
    """Every variable can be reached by attributes, under the same name in every model of the class."""
    names = [sorted(_named(case.build())) for _ in range(2)]
    expect(
        names[0] == names[1],
        "A variable must have the same path in every model of its class: a saved state is known by paths alone.",
        f"{sorted(set(names[0]) ^ set(names[1]))} in only one of two models",
        "Keep each layer and variable in an attribute of a fixed name.",
    )


def check_tables_grow(case: RecommenderCase) -> None:
    """What has a row for each item or key is named in `tables`, and nothing else is."""
    model = case.build()
    small, grown = (
        {path: tuple(variable.shape) for path, variable in _named(built).items()}
        for built in (model, case.build(GROWN))
    )
    for path, shape in small.items():
        table, larger = table_of(model, path), grown.get(path)
        if table is None:
            expect(
                shape == larger,
                "A variable whose shape follows the vocabulary must be named in `tables`, or it can't grow.",
                f"`{path}` of shape {shape}, and {larger} with larger tables; `tables` does not name it",
                f"Add it to `tables`, as `items` or `keys`, with its rows first: {SIZES.items} of items, "
                f"{SIZES.keys} of keys here.",
            )
            continue
        rows, more = getattr(SIZES, table), getattr(GROWN, table)
        expect(
            (shape[:1], larger) == ((rows,), (more, *shape[1:])),
            f"A variable in `tables`, as `{table}`, must have `sizes.{table}` rows, and nothing else of it grows.",
            f"`{path}` of shape {shape} for {rows} rows, and {larger} for {more}",
            f"Build it with `sizes.{table}` rows, or name the other vocabulary.",
        )


def check_batches_have_its_form(case: RecommenderCase) -> None:
    """The `form` is one that there is, and training sequences make batches of it."""
    model = case.build()
    expect(
        model.form in ("positions", "sequences"),
        "`form` must be `positions` or `sequences`.",
        repr(model.form),
        "Take `sequences` for a loss at every step of a history, else `positions`, which is the default.",
    )
    batches = make_training_batches(model, first_span(), 16, HISTORY, seed=1)
    for batch in batches.data:
        _expect_loss(model, batch, training=True)


def check_losses_are_finite(case: RecommenderCase) -> None:
    """On held-out positions too, and on the first day, when no item has a row of its own yet."""
    for sizes, span in ((SIZES, first_span()), (_NO_ITEM, sequences([(1, [1, 2, 1], 0), (2, [2], 0)]))):
        model = case.build(sizes)
        model.set_popularity(np.zeros(sizes.items))
        model.observe(span)
        for training in (True, False):
            data = make_training_batches(model, span, 16, HISTORY, 1).data
            if not training:
                data = span.positions().dataset(16, HISTORY)
            _expect_loss(model, next(iter(data)), training)


def _expect_loss(model: Recommender, batch: dict[str, tf.Tensor], training: bool) -> None:
    loss, call = tf.convert_to_tensor(model.compute_loss(batch, training=training)), f"training={training}"
    rule = f"`compute_loss(batch, {call})` must give one finite float32"
    received = f"{loss.dtype.name} of shape {tuple(loss.shape)}"
    expect(
        loss.dtype == tf.float32 and not loss.shape.rank, f"{rule}.", received, "Take the mean over what is predicted."
    )
    expect_finite(
        loss.numpy(),
        f"{rule}, with {model.sizes.items - model.sizes.first_row} items that have a row of their own.",
        "Where nothing of a batch can be predicted the loss is 0: divide with `tf.math.divide_no_nan`.",
    )


def _named(model: Recommender) -> dict[str, tf.Variable]:
    try:
        return named_variables(model)
    except StateError as error:
        raise CheckError(str(error)) from error


ALL = (
    check_is_built_as_told,
    check_variables_have_names,
    check_tables_grow,
    check_batches_have_its_form,
    check_losses_are_finite,
)
