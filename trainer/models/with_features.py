"""What a model with towers for features is told of them, and which of their variables grow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from trainer.features.item_features import ItemFeatures
from trainer.features.launches import Launches
from trainer.models.base import Recommender
from trainer.models.feature_tower import FeatureTower
from trainer.models.query_tower import QueryTower


class WithFeatures(Recommender):
    """A `Recommender` that may have a tower for features of items, and one for those of key and context.

    A subclass sets both in `__init__`, to None where there is none.
    """

    item_features: FeatureTower | None
    query_features: QueryTower | None

    @property
    def feature_tables(self) -> Mapping[str, str]:
        towers = (self.item_features, self.query_features)
        return {path: name for tower in towers if tower is not None for path, name in tower.tables.items()}

    def set_features(self, features: ItemFeatures) -> None:
        if self.item_features is not None:
            self.item_features.tell(features)

    def set_knots(self, knots: Mapping[str, np.ndarray]) -> None:
        if self.query_features is not None:
            self.query_features.set_knots(knots)

    def learn_launches(self, launches: Launches, spans: Sequence[tuple[int, np.ndarray]]) -> None:
        if self.item_features is not None:
            self.item_features.learn_launches(launches, spans)
