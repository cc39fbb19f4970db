"""A model under check, and the small data that it is tried with."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from trainer.checks.expectation import CheckError
from trainer.checks.small_data import held_out, random_sequences
from trainer.input_pipeline import Sequences
from trainer.keras2 import tf
from trainer.models import build_model
from trainer.models.base import Recommender, TableSizes
from trainer.settings import ModelSpec, Policy
from trainer.train_state import Arrays, ModelState, StateError
from trainer.update import Span, Update, rebuild, update

SIZES = TableSizes(items=29, keys=17, first_row=3)
GROWN = TableSizes(items=37, keys=23, first_row=3)
HISTORY = 6
POLICY = Policy(epochs=3, batch_size=16, learning_rate=0.1, patience=9)


def spec_of(model: str | type[Recommender], params: Mapping[str, Any]) -> ModelSpec:
    """`model`, given by name or as a class, as the settings file would name it."""
    return ModelSpec(
        model if isinstance(model, str) else f"{model.__module__}.{model.__qualname__}", dict(params), HISTORY
    )


@dataclasses.dataclass(frozen=True)
class RecommenderCase:
    """A model and its parameters; what was trained once is kept for all checks.

    Attributes:
      model: as in `model.type`, or a class that stands at the top of a module.
      params: its keyword arguments.
    """

    model: str | type[Recommender]
    params: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def build(self, sizes: TableSizes = SIZES) -> Recommender:
        """A new model, of nothing learned.

        Raises:
          ModelError: it can't be built.
        """
        tf.random.set_seed(1)
        spec = spec_of(self.model, self.params)
        return build_model(spec.type, sizes, HISTORY, spec.params)

    def train(
        self, sequences: Sequences, sizes: TableSizes = SIZES, base: ModelState | None = None, number: int = 1
    ) -> Update:
        """One span's update.

        Raises:
          CheckError: the model can't be carried from day to day.
        """
        spec, popularity = spec_of(self.model, self.params), np.bincount(sequences.items, minlength=sizes.items) + 1.0
        watched = held_out(sizes, 8, seed=9)
        try:
            return update(spec, sizes, [Span(number, sequences)], watched, popularity, POLICY, base)
        except StateError as error:
            raise CheckError(str(error)) from error

    @functools.cached_property
    def first(self) -> Update:
        """After a first span."""
        return self.train(first_span())

    def trained(self) -> Recommender:
        """The model of `first` again, to be changed at will."""
        return rebuild(spec_of(self.model, self.params), self.first.state)


def arrays_of(state: ModelState) -> Arrays:
    """Every weight by its path, and every slot, and what holds it, by its variable's path, `|` and its name."""
    slots = {f"{path}|{name}": slot for path, slots in state.slots.items() for name, slot in slots.items()}
    return {**state.weights, **slots, **{f"{path}|fisher": of for path, of in state.fisher.items()}}


def first_span() -> Sequences:
    """Of the rows of `SIZES`; some events are of items and keys without a row of their own."""
    sequences = random_sequences(SIZES, 40, seed=1)
    sequences.items[::9] = 1
    sequences.key[::7] = 2
    return sequences


def requests() -> dict[str, tf.Tensor]:
    """A batch of positions: `key` [24], `history` [24, HISTORY], `item` [24], `weight` [24].

    Histories are of every length, none included, with rows out of vocabulary and an item that comes twice.
    """
    random = np.random.default_rng(3)
    history = random.integers(1, SIZES.items, [24, HISTORY])
    history[np.arange(HISTORY) < HISTORY - np.arange(24)[:, None] % (HISTORY + 1)] = 0
    history[6, -1] = history[6, -2]
    return {
        "key": tf.constant(random.integers(1, SIZES.keys, 24)),
        "history": tf.constant(history),
        "item": tf.constant(random.integers(SIZES.first_row, SIZES.items, 24)),
        "weight": tf.constant(random.normal(7, 2, 24), tf.float32),
    }
