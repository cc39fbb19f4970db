"""An update that learns more carefully: a policy whose rate, replay and epochs are multiplied by factors."""

from __future__ import annotations

import dataclasses
import math

from trainer.settings import Policy


@dataclasses.dataclass(frozen=True)
class Factors:
    """Of the learning rates, of the old positions in a step, and of the epochs; 1 leaves them as they are."""

    rate: float
    replay: float
    epochs: float


UNCHANGED = Factors(1.0, 1.0, 1.0)


def backed_off(policy: Policy, factors: Factors) -> Policy:
    """`policy` with `factors`: the same one where they change nothing."""
    if factors == UNCHANGED:
        return policy
    schedule, replay = policy.schedule, policy.stability.replay
    # A model's loss is a mean over its batch: without the weight twice the positions would pull no harder than before.
    replay = dataclasses.replace(
        replay, fraction=replay.fraction * factors.replay, weight=replay.weight * factors.replay
    )
    return dataclasses.replace(
        policy,
        learning_rate=policy.learning_rate * factors.rate,
        schedule=dataclasses.replace(schedule, rates=tuple(rate * factors.rate for rate in schedule.rates)),
        epochs=math.ceil(policy.epochs * factors.epochs),
        stability=dataclasses.replace(policy.stability, replay=replay),
    )
