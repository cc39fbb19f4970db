"""Which weights of a model a bundle can do without: those of item tables and of kernels."""

from __future__ import annotations

from trainer.keras2 import tf
from trainer.models.base import Recommender, table_of
from trainer.train_state import named_variables


def tables_and_kernels(model: Recommender) -> tuple[list[tf.Variable], list[tf.Variable]]:
    """The trained tables [items, d] of item vectors and the trained kernels of layers, as Keras names them.

    Left alone are biases, norms, places, what is told or counted, and single numbers an item. The users' rows are left
    alone too: `warmspan forget` finds a bundle's by their being those of the state.
    """
    tables, kernels = [], []
    for path, variable in named_variables(model).items():
        if not variable.trainable or variable.shape.rank < 2:
            continue
        table = table_of(model, path)
        if table is None and path.rsplit("/", 1)[-1].endswith("kernel"):
            kernels.append(variable)
        elif table == "items" and variable.shape.rank == 2 and variable.shape[1] > 1:
            tables.append(variable)
    return tables, kernels
