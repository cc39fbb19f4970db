"""The models, a file each, behind the small protocol of `base.Recommender`."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from trainer.features.declaration import Feature
from trainer.keras2 import keras
from trainer.models.base import Recommender, TableSizes

BUILT_IN = {
    "two_tower": "trainer.models.two_tower.TwoTower",
    "ranking": "trainer.models.ranking.Ranking",
    "dcn": "trainer.models.dcn.Dcn",
    "two_stage": "trainer.models.two_stage.TwoStage",
    "sasrec": "trainer.models.sasrec.SasRec",
    "hstu": "trainer.models.hstu.Hstu",
    "mf": "trainer.models.mf.MatrixFactorization",
}


class ModelError(ValueError):
    """`model.type` or `model.params` can't be used; the message says why."""


def find_model(type_: str) -> type[Recommender]:
    """The class of a built-in model by name, or of the user's `Recommender` by dotted path.

    Raises:
      ModelError: there is no such class, or it is not a `Recommender`.
    """
    module, _, name = BUILT_IN.get(type_, type_).rpartition(".")
    try:
        model_class = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ModelError(
            f"`model.type` must be one of {', '.join(BUILT_IN)} or the dotted path of a class that can be imported. "
            f"Received: {type_!r} ({error})."
        ) from None
    if not (isinstance(model_class, type) and issubclass(model_class, Recommender)):
        raise ModelError(f"`model.type` must be a subclass of trainer.models.base.Recommender. Received: {type_!r}.")
    return model_class


def build_model(
    type_: str,
    sizes: TableSizes,
    history_length: int,
    params: dict[str, Any],
    features: Sequence[Feature] | None = None,
    query_features: Sequence[Feature] | None = None,
    revision: int | None = None,
) -> Recommender:
    """Builds the model `type_` with tables of the given sizes, and a tower for `features` of items; None for no tower.

    `query_features`, of key and context, have a tower where there are any. `revision` is a saved state's, whatever
    `params` say (see `Recommender.revisions`); None for a new model.

    Raises:
      ModelError: there is no such model, or it does not take `params`.
    """
    model_class = find_model(type_)
    towers: dict[str, Any] = {} if features is None else {"features": tuple(features)}
    if query_features:
        towers["query_features"] = tuple(query_features)
    if revision is not None and len(model_class.revisions) > 1:
        params = {**params, "revision": revision}
    # Keras numbers the layers of a process by their names, and TensorFlow adds up in an order that follows names: the
    # weights that a model learns would depend, in their last digits, on what was built before it.
    keras.backend.reset_uids()
    try:
        return model_class(sizes, history_length, **params, **towers)
    except TypeError as error:
        raise ModelError(
            f"`model.params` must be keyword arguments of {type_}. Received: {params} ({error})."
        ) from error
