"""What a training step that several replicas share must do otherwise: its means and its negatives are everybody's.

Each replica sees its rows of a batch. The gradients of all are added up, so that each one's loss must be its part of
the loss of the whole batch: a mean divides by what all of them have, and what a row is compared with is what it would
be compared with if nobody had shared the batch out. Outside of `shared_step` all of this is as if it were not there.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator, Sequence

from trainer.keras2 import tf

_SHARED: contextvars.ContextVar[bool] = contextvars.ContextVar("_SHARED", default=False)


@contextlib.contextmanager
def shared_step() -> Iterator[None]:
    """What is traced within is one replica's part of a step. To be entered within `tf.distribute`'s replica context."""
    token = _SHARED.set(True)
    try:
        yield
    finally:
        _SHARED.reset(token)


def is_shared() -> bool:
    """Whether this is traced for one of several replicas."""
    return _SHARED.get()


def replicas() -> int:
    """How many share the step."""
    return _context().num_replicas_in_sync if is_shared() else 1


def replica_number() -> tf.Tensor:
    """Which of them this is, from 0: an int32 scalar."""
    return tf.convert_to_tensor(_context().replica_id_in_sync_group, tf.int32) if is_shared() else tf.constant(0)


def across(total: tf.Tensor) -> tf.Tensor:
    """The sum over all replicas of what does not depend on a weight, of the same shape with each of them."""
    if not is_shared():
        return total
    return tf.stop_gradient(_context().all_reduce(tf.distribute.ReduceOp.SUM, tf.stop_gradient(total)))


def everyones(rows: tf.Tensor) -> tf.Tensor:
    """int64 [n] rows of this replica, and behind them those of all others in the order of their numbers: int64 [m]."""
    if not is_shared():
        return rows
    number = tf.cast(replica_number(), rows.dtype)
    every = _context().all_gather(tf.stack([rows, tf.fill(tf.shape(rows), number)], axis=1), axis=0)
    return tf.concat([rows, tf.boolean_mask(every[:, 0], every[:, 1] != number)], axis=0)


def copies(variable: tf.Variable) -> Sequence[tf.Variable]:
    """That of each replica in this process, or the variable itself: what is set in part is set in each of them."""
    return getattr(variable, "values", (variable,))


def _context() -> tf.distribute.ReplicaContext:
    context = tf.distribute.get_replica_context()
    assert context is not None  # a step is traced for a replica
    return context
