"""Averaging over days: the weights that are kept lie between those before a span and those after it."""

from __future__ import annotations

import numpy as np

from trainer.models.base import TableSizes, table_of
from trainer.train_state import Arrays, Trainable


def average(trainable: Trainable, before: Arrays, carried: TableSizes, share: float) -> None:
    """Sets w to (1 - share) * before + share * w, for what is trained.

    An exponential mean over the days, of what each day's training arrived at: Polyak and Juditsky, "Acceleration of
    stochastic approximation by averaging", SIAM J. Control Optim. 30, 1992, and Izmailov et al., "Averaging weights
    leads to wider optima and better generalization", UAI 2018, section 3.2, there with equal shares. The next day
    starts from the mean. Slots stay. Rows that are new to the span's model are kept as they were learned.

    Args:
      before: the weights that the span's training started from.
      carried: the tables of the model that the update started from.
      share: of the new weights, in (0, 1].
    """
    for path, variable in trainable.variables.items():
        if not variable.trainable:
            continue
        new = variable.numpy()
        table = table_of(trainable.model, path)
        both = slice(None) if table is None else slice(carried.rows(table))
        if new.ndim == 0:
            new = np.float32((1.0 - share) * before[path] + share * new)
        else:
            new[both] = (1.0 - share) * before[path][both] + share * new[both]
        variable.assign(new)
