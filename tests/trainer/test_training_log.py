"""What is kept of a training's losses: a curve of bounded length, and what was watched after each epoch."""

from __future__ import annotations

import pytest

from trainer.training_log import Losses, TrainingLog


def test_a_long_training_is_kept_as_means_of_its_steps(tmp_path):
    log = TrainingLog(None, 1)
    for step in range(1, 1001):
        log.step(step, float(step))
        if step % 500 == 0:
            log.epoch(7, step // 500, 0.5)
    losses = log.losses("recall")
    assert (len(losses.steps), losses.steps[0], losses.steps[-1]) == (200, 5, 1000)
    assert losses.losses[0] == pytest.approx(3.0)
    assert losses.epochs == [(500, 7, 1, 0.5), (1000, 7, 2, 0.5)]
    losses.save(tmp_path / "losses.json")
    read = Losses.load(tmp_path / "losses.json")
    assert (read.steps, read.losses, read.watch) == (losses.steps, losses.losses, "recall")
    assert [tuple(epoch) for epoch in read.epochs] == losses.epochs


def test_a_training_without_a_step_has_an_empty_curve():
    assert TrainingLog(None, 1).losses("loss") == Losses([], [], [], "loss")
