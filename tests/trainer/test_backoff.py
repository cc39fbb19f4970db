"""A policy that learns more carefully."""

from __future__ import annotations

from trainer.backoff import UNCHANGED, Factors, backed_off
from trainer.settings import Policy, ReplaySettings, Schedule, Stability

POLICY = Policy(
    epochs=5,
    cold_epochs=9,
    learning_rate=0.1,
    schedule=Schedule(rates=(0.2, 0.4)),
    stability=Stability(replay=ReplaySettings(budget=50, fraction=0.5, weight=0.25)),
)


def test_the_factors_are_of_every_rate_of_the_replay_and_of_the_epochs():
    careful = backed_off(POLICY, Factors(rate=0.5, replay=2.0, epochs=0.5))
    assert careful.learning_rate == 0.05
    assert careful.schedule.rates == (0.1, 0.2)
    assert (careful.epochs, careful.cold_epochs) == (3, 9), "rounded up, and of a fine-tuning alone"
    replay = careful.stability.replay
    # Twice as many in a step, each as heavy as before: the loss is a mean.
    assert (replay.budget, replay.fraction, replay.weight) == (50, 1.0, 0.5)


def test_an_epoch_is_left_and_without_factors_it_is_the_same_policy():
    assert backed_off(POLICY, Factors(1.0, 1.0, 0.01)).epochs == 1
    assert backed_off(POLICY, UNCHANGED) is POLICY
