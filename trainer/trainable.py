"""A model with the optimizer that a policy gives it."""

from __future__ import annotations

from trainer.keras2 import tf
from trainer.models.base import Recommender, table_of
from trainer.optimizers import LazyAdam, make_optimizer
from trainer.settings import Policy
from trainer.stability.freezing import rates
from trainer.train_state import Trainable, named_variables


def make_trainable(model: Recommender, policy: Policy) -> Trainable:
    """`model`, and an optimizer that is built for its variables."""
    variables = named_variables(model)
    optimizer = make_optimizer(
        policy.optimizer,
        policy.learning_rate,
        policy.clip_norm,
        policy.initial_accumulator,
        policy.weight_decay,
        [variable for path, variable in variables.items() if _keeps_its_length(model, path, variable)],
    )
    if isinstance(optimizer, LazyAdam):
        tables = [variable for path, variable in variables.items() if table_of(model, path) is not None]
        optimizer.set_row_rate(policy.schedule.row_boost, policy.schedule.row_touches, tables)
    optimizer.set_rates(rates(variables, policy.stability.partial.rates), variables)
    return Trainable(model, optimizer)


def _keeps_its_length(model: Recommender, path: str, variable: tf.Variable) -> bool:
    """Whether weight decay leaves the variable alone: a table, and what has no matrix, as gains, biases, temperatures.

    To pull a gain or a temperature towards zero is to switch off a layer, not to keep it simple.
    """
    return table_of(model, path) is not None or len(variable.shape) < 2
