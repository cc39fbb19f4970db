"""Weight decay shortens the matrices of a model and nothing else: no row of a table, no gain, no temperature."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.keras2 import tf
from trainer.models import BUILT_IN, build_model
from trainer.models.base import TableSizes, table_of
from trainer.settings import Policy
from trainer.trainable import make_trainable

SIZES, RATE, DECAY = TableSizes(9, 7, 2), 0.1, 0.5


@pytest.mark.parametrize("optimizer", ["adam", "adagrad"])
@pytest.mark.parametrize("type_", BUILT_IN)
def test_only_matrices_that_are_no_tables_get_shorter(type_: str, optimizer: str) -> None:
    model = build_model(type_, SIZES, 6, {})
    trainable = make_trainable(model, Policy(optimizer=optimizer, learning_rate=RATE, weight_decay=DECAY))
    learned = {path: variable for path, variable in trainable.variables.items() if variable.trainable}
    for variable in learned.values():
        variable.assign(tf.ones_like(variable))
    trainable.optimizer.apply_gradients([(tf.zeros_like(variable), variable) for variable in learned.values()])
    for path, variable in learned.items():
        matrix = len(variable.shape) == 2 and table_of(model, path) is None
        expected = 1 - RATE * DECAY if matrix else 1.0
        np.testing.assert_allclose(variable.numpy(), expected, rtol=1e-6, err_msg=path)
    matrices = [path for path in learned if len(learned[path].shape) == 2 and table_of(model, path) is None]
    assert bool(matrices) == (type_ not in ("two_tower", "mf")), "these have tables alone"
    if type_ in ("sasrec", "hstu"):
        assert {"log_scale", "before_head/gamma", "item_embedding/embeddings"} <= learned.keys() - set(matrices)
