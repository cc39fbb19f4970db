"""Shrink and perturb: a span starts nearer to a fresh model, which learns new data better than a settled one."""

from __future__ import annotations

import numpy as np

from trainer.models.base import Recommender, table_of
from trainer.settings import ShrinkSettings
from trainer.stability.freezing import matching
from trainer.train_state import Trainable


def shrink_perturb(trainable: Trainable, how: ShrinkSettings, seed: int) -> None:
    """Sets w to factor * w + noise * normal(0, 1), once, for the trainable variables that its patterns match.

    Ash and Adams, "On warm-starting neural network training", NeurIPS 2020, section 4. Slots stay. The rows of a table
    that stand for no id get no noise: models may count on a padding row that says nothing.

    Raises:
      PolicyError: a pattern matches nothing.
    """
    if how.factor == 1 and not how.noise:
        return
    setting = "update.stability.shrink.variables"
    paths = {path for pattern in how.variables for path in matching(trainable.variables, pattern, setting)}
    random = np.random.default_rng(seed)
    model: Recommender = trainable.model
    for path in sorted(paths):
        variable = trainable.variables[path]
        added = how.noise * random.standard_normal(variable.shape).astype(np.float32)
        if table_of(model, path) is not None:
            added[: model.sizes.first_row] = 0.0
        variable.assign(np.float32(how.factor) * variable.numpy() + added)
