"""What occurs close to the last item, counted."""

from __future__ import annotations

import numpy as np

from pipeline.backtest.baselines.item_pairs import ItemPairs


class Cooccurrence(ItemPairs):
    """Items by how often they stood at most 10 events from the history's last item, in either order.

    The association rules of Ludewig and Jannach ("Evaluation of session-based recommendation algorithms", UMUAI 28,
    2018, section 3.1), for pairs that are close. An item is not together with itself. Behind them comes what is
    popular.
    """

    name = "co-occurrence"

    def _cells(
        self, earlier: np.ndarray, later: np.ndarray, distance: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        pair = earlier != later
        left, right = earlier[pair], later[pair]
        return np.concatenate([left, right]), np.concatenate([right, left]), np.ones(2 * len(left))
