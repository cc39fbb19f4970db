"""Spans that are learned late give what learning each on its own day gives, to the last bit."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.trainer.small_model import HISTORY, SMALL
from trainer.catch_up import Day, catch_up, learn_at_once
from trainer.checks.policy_checks import expect_same_update
from trainer.checks.small_data import held_out, random_sequences
from trainer.models.base import TableSizes
from trainer.settings import EwcSettings, ModelSpec, Policy, ReplaySettings, Schedule, Stability
from trainer.update import Span, Update

SPEC = ModelSpec(SMALL, {}, HISTORY)
POLICY = Policy(epochs=3, batch_size=8, learning_rate=0.3, watch="loss", patience=0)
REMEMBERING = dataclasses.replace(
    POLICY,
    optimizer="adam",
    learning_rate=0.05,
    stability=Stability(replay=ReplaySettings(20), ewc=EwcSettings(strength=10.0, sample=40)),
    schedule=Schedule(within="cosine", slots="decay"),
)


def day(number: int) -> Day:
    """Each day has more items and keys than the one before, another popularity and another held-out part."""
    sizes = TableSizes(20 + 4 * number, 12 + 2 * number, 2)
    popularity = np.random.default_rng(number).uniform(0, 9, sizes.items)
    return Day(
        Span(number, random_sequences(sizes, 30, seed=number)), sizes, held_out(sizes, 15, seed=number), popularity
    )


@pytest.mark.parametrize("policy", [POLICY, REMEMBERING], ids=["plain", "remembering"])
def test_to_be_late_changes_nothing(policy: Policy) -> None:
    first = learn_at_once(SPEC, [day(1)], policy)
    nights: list[Update] = [first]
    for number in (2, 3, 4):
        nights.append(catch_up(SPEC, [day(number)], policy, nights[-1].state, nights[-1].memory))
    late = catch_up(SPEC, [day(number) for number in (2, 3, 4)], policy, first.state, first.memory)
    expect_same_update(nights[-1], late)
    assert late.state.learned == (1, 2, 3, 4)
    assert late.examples == sum(night.examples for night in nights[1:])
    assert late.epochs == sum(night.epochs for night in nights[1:])
    assert (late.train_loss, late.watched) == (nights[-1].train_loss, nights[-1].watched)


def test_what_is_known_today_is_not_what_was_known_then() -> None:
    """The case of before: all that is owed was learned amid what the last day knows."""
    first = learn_at_once(SPEC, [day(1)], POLICY)
    late = catch_up(SPEC, [day(2), day(3)], POLICY, first.state, first.memory)
    today = learn_at_once(SPEC, [day(2), day(3)], POLICY, base=first.state, memory=first.memory)
    assert not np.array_equal(today.state.weights["item/embeddings"], late.state.weights["item/embeddings"])
