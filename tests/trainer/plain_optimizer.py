"""Optimizers that clip nothing and take nothing off where a test does not say so."""

from __future__ import annotations

from typing import Any

from trainer.optimizers import Adagrad, LazyAdam, OptimizerName, make_optimizer


def plain_optimizer(name: OptimizerName, learning_rate: float, **changes: Any) -> LazyAdam | Adagrad:
    return make_optimizer(
        name, learning_rate, **{"clip_norm": None, "initial_accumulator": 0.1, "weight_decay": 0.0, **changes}
    )
