"""Who teaches: a model that is asked and not trained, over the ids that it shares with its student."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from trainer.features.query_values import row_of, with_values
from trainer.keras2 import tf
from trainer.models.base import Recommender, TableSizes
from trainer.models.query_tower import asked_in
from trainer.settings import ModelSpec
from trainer.teaching.batch_forms import as_positions, as_sequences
from trainer.train_state import ModelState, StateError
from trainer.update import rebuild
from trainer.vocabulary import Vocabulary

_UNKNOWN = 1  # the row of what a model does not know, see `Recommender.known`


class Teacher:
    """A model of any shape, asked in the rows of its student.

    What the student knows and the teacher does not stands for an unknown item or key in what the teacher is asked, and
    is no answer. Features of key and context that the teacher was not built with are not given to it.

    Args:
      model: answers; is not trained. Its scores must be of one kind for all items (see `check_teaches`).
      first_row: of the student's items.
      items: int64 [student's items], the teacher's row of each; below the teacher's `first_row` where it has none.
      keys: int64 [student's keys], likewise.
      features: names of the values of key and context that `model` was built with.
    """

    def __init__(
        self, model: Recommender, first_row: int, items: np.ndarray, keys: np.ndarray, features: Sequence[str]
    ) -> None:
        # Behind a function, where Keras does not take the model for a part of who learns.
        self._model, self._features = (lambda: model), tuple(features)
        known = items >= model.sizes.first_row
        known[:first_row] = False
        self._items, self._keys = tf.constant(items, tf.int64), tf.constant(keys, tf.int64)
        self._known = tf.constant(known)
        self.shared = tf.constant(np.flatnonzero(known), tf.int64)
        """int64 [s], the student's rows of the items that both have."""

    @classmethod
    def of_rows(cls, spec: ModelSpec, state: ModelState, sizes: TableSizes) -> Teacher:
        """Of a state over the vocabulary that the student has, or over an earlier one of the same root.

        Args:
          spec: of the teacher; `state` was taken from it.
          state: its weights.
          sizes: of the student.

        Raises:
          StateError: `state` is of another model, or its rows are others.
        """
        if state.sizes.first_row != sizes.first_row:
            raise StateError(
                "A teacher over the student's vocabulary must have as many out-of-vocabulary rows. Received: "
                f"{state.sizes.first_row - 1} and {sizes.first_row - 1}. Train it anew, or share ids (`of_ids`)."
            )
        of, student = state.sizes, sizes.numbering
        items = _where_known(student.items.moved(np.arange(sizes.items), of.numbering.items), of.items)
        keys = _where_known(student.keys.moved(np.arange(sizes.keys), of.numbering.keys), of.keys)
        return cls(rebuild(spec, state), sizes.first_row, items, keys, _asked(spec, state))

    @classmethod
    def of_ids(
        cls,
        spec: ModelSpec,
        state: ModelState,
        vocabularies: tuple[Vocabulary, Vocabulary],
        of_student: tuple[Vocabulary, Vocabulary],
    ) -> Teacher:
        """Of a state over a vocabulary of its own, as from another root: items and keys are the same by their ids.

        Args:
          spec, state: as for `of_rows`. Features whose words have a vocabulary of their own can't be shared: give a
            `spec` without them.
          vocabularies: of the teacher's items and keys.
          of_student: of the student's.

        Raises:
          StateError: `state` is of another model.
        """
        items, keys = (
            np.concatenate([np.full(student.first_row, _UNKNOWN), teacher.lookup(student.ids)])
            for teacher, student in zip(vocabularies, of_student, strict=True)
        )
        items, keys = (_where_known(rows, few) for rows, few in ((items, state.sizes.items), (keys, state.sizes.keys)))
        return cls(rebuild(spec, state), of_student[0].first_row, items, keys, _asked(spec, state))

    def knows(self, items: tf.Tensor) -> tf.Tensor:
        """Which of the student's int64 rows are in `shared`, bool of the same shape."""
        return tf.gather(self._known, items)

    def score_batch(self, batch: dict[str, Any], form: str, candidates: tf.Tensor) -> tf.Tensor:
        """What it thinks of int64 [c] `shared` rows at each position that the student takes a loss at: float32 [p, c].

        Args:
          batch: a training batch of the student, whose form is `form` (see `Recommender.form`).
          form: `positions` or `sequences`.
          candidates: rows of the student.
        """
        key = batch["key"]
        values = {name: key[name] for name in self._features if not tf.is_tensor(key) and name in key}
        asked: dict[str, Any] = {
            "key": with_values(tf.gather(self._keys, row_of(key)), values),
            "history": self._row(batch["history"]),
            "item": self._row(batch["item"]),
        }
        model = self._model()
        if form != model.form:
            asked = as_positions(asked) if form == "sequences" else as_sequences(asked)
        return model.score_batch(asked, tf.gather(self._items, candidates))

    def _row(self, items: tf.Tensor) -> tf.Tensor:
        return tf.where(items > 0, tf.gather(self._items, items), 0)


def _where_known(rows: np.ndarray, size: int) -> np.ndarray:
    """Rows that a table of `size` has; an item may be in the vocabulary and not yet in the table."""
    return np.where(rows < size, rows, _UNKNOWN).astype(np.int64)


def _asked(spec: ModelSpec, state: ModelState) -> tuple[str, ...]:
    return tuple(feature.vocabulary for feature in asked_in(state.weights, spec.query_features or ()))
