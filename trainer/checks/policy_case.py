"""A policy under check, and two small spans over a growing vocabulary."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from trainer.checks.recommender_case import spec_of
from trainer.checks.small_data import held_out, random_sequences, sequences
from trainer.input_pipeline import Sequences
from trainer.models.base import Recommender, TableSizes
from trainer.settings import Policy
from trainer.stability.replay_memory import ReplayMemory
from trainer.train_state import ModelState
from trainer.update import Span, Update, update

DAYS = (TableSizes(12, 8, 2), TableSizes(15, 10, 2))  # on the first and on the second day
EMPTY = Sequences.empty()
ONLY_NEW_ITEMS = sequences([(3, [12, 13, 14], 0), (9, [14, 12], 0)])


@dataclasses.dataclass(frozen=True)
class PolicyCase:
    """A policy and the model that it is tried with; the two first updates are made once for all checks.

    Attributes:
      policy: how a span changes the model.
      model: as in `model.type`, or a class that stands at the top of a module. `sasrec` has all that a part may need.
      params: its keyword arguments.
    """

    policy: Policy
    model: str | type[Recommender] = "sasrec"
    params: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def run(self, spans: dict[int, Sequences], before: Update | tuple[ModelState, ReplayMemory] | None) -> Update:
        """The update of the spans by number, on what the one before left."""
        state, memory = (before.state, before.memory) if isinstance(before, Update) else before or (None, None)
        sizes = DAYS[min(max(spans), 1)]
        watched, popularity = held_out(sizes, 6, seed=9), np.ones(sizes.items)
        owed = [Span(number, span) for number, span in spans.items()]
        spec = spec_of(self.model, self.params)
        return update(spec, sizes, owed, watched, popularity, self.policy, base=state, memory=memory)

    @functools.cached_property
    def first(self) -> Update:
        """After the first day, from nothing."""
        return self.run({0: day(0)}, None)

    @functools.cached_property
    def second(self) -> Update:
        """After the second, from `first`."""
        return self.run({1: day(1)}, self.first)


def day(number: int) -> Sequences:
    """The sequences of span 0 or 1, rows of that day's vocabulary."""
    return random_sequences(DAYS[number], 20, seed=number)
