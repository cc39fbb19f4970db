"""A batch of positions as what a bundle's `evaluate_rows` asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from trainer.features.query_values import nothing, row_of
from trainer.keras2 import tf


def rows_asked(signature: Any, batch: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs of a signature, out of a batch of `Positions.dataset`.

    A bundle asks for the features that its model learned from: what the span does not have, or has as another kind, is
    missing, and what the model does not know is left out.
    """
    key = batch["key"]
    given = {**batch, **(key if isinstance(key, Mapping) else {}), "key": row_of(key)}
    return {
        spec.name: given[spec.name]
        if spec.name in given and given[spec.name].dtype == spec.dtype
        else _missing(len(batch["item"]), spec)
        for spec in tf.nest.flatten(signature.structured_input_signature)
    }


def _missing(count: int, spec: tf.TensorSpec) -> tf.Tensor:
    return tf.constant(nothing(count, (1,) * (spec.shape.rank - 1), np.dtype(spec.dtype.as_numpy_dtype)))
