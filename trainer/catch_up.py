"""Spans that are owed are learned as if each had been on its own day: to be late changes nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from trainer.features.item_features import ItemFeatures
from trainer.input_pipeline import Positions
from trainer.models.base import TableSizes
from trainer.settings import ModelSpec, Policy
from trainer.stability.replay_memory import ReplayMemory
from trainer.teaching.teacher import Teacher
from trainer.train_state import ModelState
from trainer.update import Span, Update, update

MakeTeacher = Callable[[TableSizes], Teacher]


@dataclasses.dataclass(frozen=True)
class Day:
    """A span, and what was known on its day.

    Attributes:
      span: what was new.
      sizes: rows of the tables.
      held_out: what chose epochs.
      popularity: float64 [sizes.items].
      features: of the items, where the model has a catalogue's.
      knots: of numbers of key and context.
    """

    span: Span
    sizes: TableSizes
    held_out: Positions
    popularity: np.ndarray
    features: ItemFeatures | None = None
    knots: Mapping[str, np.ndarray] | None = None


def catch_up(
    spec: ModelSpec,
    days: Sequence[Day],
    policy: Policy,
    base: ModelState,
    memory: ReplayMemory | None = None,
    teacher: MakeTeacher | None = None,
    **how: Any,
) -> Update:
    """Goes on from `base` day by day, with the tables, the held-out part and the popularity of each.

    Args:
      spec, policy, base, memory, how: see `update`.
      days: what has not been learned yet, oldest first; at least one.
      teacher: makes the one of a day, whose tables have these sizes; None for nobody.

    Returns:
      That of the last day; its costs and notes are those of all.

    Raises:
      As `update`.
    """
    results: list[Update] = []
    for day in days:
        before = results[-1] if results else None
        results.append(
            update(
                spec=spec,
                sizes=day.sizes,
                spans=[day.span],
                held_out=day.held_out,
                popularity=day.popularity,
                policy=policy,
                base=base if before is None else before.state,
                memory=memory if before is None else before.memory,
                features=day.features,
                knots=day.knots,
                teacher=None if teacher is None else teacher(day.sizes),
                **how,
            )
        )
    return dataclasses.replace(
        results[-1],
        examples=sum(result.examples for result in results),
        epochs=sum(result.epochs for result in results),
        seconds=sum(result.seconds for result in results),
        notes=tuple(dict.fromkeys(note for result in results for note in result.notes)),
    )


def learn_at_once(
    spec: ModelSpec, days: Sequence[Day], policy: Policy, teacher: MakeTeacher | None = None, **how: Any
) -> Update:
    """Learns all `days` in order amid what is known on the last of them, as a cold start or a full retrain does."""
    last = days[-1]
    return update(
        spec=spec,
        sizes=last.sizes,
        spans=[day.span for day in days],
        held_out=last.held_out,
        popularity=last.popularity,
        policy=policy,
        features=last.features,
        knots=last.knots,
        teacher=None if teacher is None else teacher(last.sizes),
        **how,
    )
