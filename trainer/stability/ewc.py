"""Elastic weight consolidation: what the old days depend on is held, the rest may move."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from trainer.keras2 import tf
from trainer.models.base import Recommender, table_of
from trainer.replicas import replicas
from trainer.stability.base import NEW, Batches, LossTerm
from trainer.stability.batch_rows import LOOKED_UP, used_rows
from trainer.train_state import Arrays

_SCALE = 1024.0  # of a loss in float16, see `fisher_diagonal`
FISHER_BATCH = 16  # positions whose gradients are squared together


class Ewc(LossTerm):
    """strength / 2 * sum of F * (w - w_previous)^2, F being the diagonal of the Fisher information.

    Kirkpatrick et al., "Overcoming catastrophic forgetting in neural networks", PNAS 114, 2017, eq. 3. Of a table the
    rows that the batch uses are pulled, each once: rows that it does not use do not move, and the cost of a step
    follows the batch. Rows that the previous model did not have are free, so is row 0, which pads.

    Args:
      variables: the variables by path.
      previous: the previous model's weights by path; a table may have fewer rows.
      fisher: see `fisher_diagonal`; arrays of the shapes in `previous`.
      strength: how hard the pull is.
    """

    def __init__(
        self,
        model: Recommender,
        variables: Mapping[str, tf.Variable],
        previous: Mapping[str, np.ndarray],
        fisher: Mapping[str, np.ndarray],
        strength: float,
    ) -> None:
        self._strength = strength
        self._anchors = [
            (table_of(model, path), variables[path], tf.constant(previous[path]), tf.constant(of))
            for path, of in sorted(fisher.items())
        ]

    def loss(self, model: Recommender, batches: Batches) -> tf.Tensor:
        total = tf.constant(0.0)
        for table, variable, previous, fisher in self._anchors:
            if table is None:
                total += tf.reduce_sum(fisher * tf.square(variable - previous))
                continue
            if table not in LOOKED_UP:  # of words, which items have
                total += tf.reduce_sum(fisher * tf.square(variable[: len(previous)] - previous))
                continue
            rows, _ = used_rows(batches[NEW], table, len(previous))
            moved = tf.gather(variable, rows) - tf.gather(previous, rows)
            total += tf.reduce_sum(tf.gather(fisher, rows) * tf.square(moved))
        return self._strength / 2 / replicas() * total


def fisher_diagonal(
    model: Recommender,
    variables: Mapping[str, tf.Variable],
    previous: Mapping[str, np.ndarray],
    batches: tf.data.Dataset,
) -> Arrays:
    """The diagonal of the Fisher information of one position, estimated on `batches` under the model as it is.

    The labels are those that occurred ("empirical Fisher"; Kunstner, Hennig and Balles, NeurIPS 2019, eq. 3). A batch
    of n positions gives n times the square of its mean gradient, which is the sum of their squares in expectation
    where the gradients have mean zero and are independent, as under a model that has learned the positions. So that a
    model need not be asked for each position's gradient, batches should be small. Of a table only the rows that the
    loss looks up cost anything. Weights that training changes without a gradient, such as running moments, are put
    back.

    Args:
      variables: the variables by path.
      previous: the weights to be held, by path; of a table only so many rows are of interest.
      batches: what `compute_loss` gets while training.

    Returns:
      float32 arrays by the path of each trainable variable, of the shapes in `previous`.
    """
    learned = {path: variable for path, variable in variables.items() if variable.trainable and path in previous}
    constants = {path: variable.numpy() for path, variable in variables.items() if not variable.trainable}
    fisher = {path: np.zeros_like(previous[path]) for path in learned}

    @tf.function(input_signature=[batches.element_spec], autograph=False)
    def gradients(batch: dict[str, tf.Tensor]) -> list[tf.Tensor | tf.IndexedSlices | None]:
        with tf.GradientTape() as tape:
            loss = scale * model.compute_loss(batch, training=True)
        return tape.gradient(loss, list(learned.values()))

    # What is small in float16 is zero. A power of two changes no other digit, neither here nor below.
    scale = _SCALE if model.compute_dtype == "float16" else 1.0
    seen = 0
    for batch in batches:
        positions = int(np.count_nonzero(batch["item"]))
        seen += positions
        for path, gradient in zip(learned, gradients(batch), strict=True):
            if gradient is not None:
                _add_square(fisher[path], gradient, (positions / scale) ** 2)
    for path, value in constants.items():
        variables[path].assign(value)
    return {path: total / np.float32(max(seen, 1)) for path, total in fisher.items()}


def averaged(before: Mapping[str, np.ndarray], new: Arrays, decay: float) -> Arrays:
    """The Fisher information of all spans so far, from that of the spans `before` and of the `new` one.

    Without it a weight is held for the sake of the last span alone. Chaudhry et al., "Riemannian Walk for Incremental
    Learning", ECCV 2018, section 4.1 (EWC++): an average, so that `strength` keeps its meaning however many spans there
    were.

    Args:
      before: by path, of the shapes that the tables had; empty before the second span.
      new: by path.
      decay: what `before` counts, 0 to 1.
    """
    if not before:
        return new
    result = {}
    for path, of_span in new.items():
        result[path] = np.array((1 - decay) * of_span, of_span.dtype)
        if path in before and before[path].ndim == of_span.ndim:
            rows = tuple(slice(0, count) for count in before[path].shape)
            if result[path][rows].shape == before[path].shape:
                result[path][rows] += (decay * before[path]).astype(of_span.dtype)
    return result


def _add_square(total: np.ndarray, gradient: tf.Tensor | tf.IndexedSlices, factor: float) -> None:
    if not isinstance(gradient, tf.IndexedSlices):
        total += factor * np.square(gradient.numpy()[tuple(map(slice, total.shape))])
        return
    rows, place = np.unique(gradient.indices.numpy(), return_inverse=True)
    summed = np.zeros((len(rows), *total.shape[1:]), total.dtype)
    np.add.at(summed, place, gradient.values.numpy())
    carried = rows < len(total)
    total[rows[carried]] += factor * np.square(summed[carried])
