"""What occurs close to the last item, counted."""

from __future__ import annotations

import numpy as np

from pipeline.backtest.baselines.item_pairs import ItemPairs


class Cooccurrence(ItemPairs):
    """Items by how often they stood at most 10 events from the history's last item, in either order.

    The association rules of Ludewig and Jannach ("Evaluation of session-based recommendation algorithms", UMUAI 28,
    2018, section 3.1), for pairs that are close. Behind them comes what is popular.
    """

    name = "co-occurrence"

    def _cells(
        self, earlier: np.ndarray, later: np.ndarray, distance: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return np.concatenate([earlier, later]), np.concatenate([later, earlier]), np.ones(2 * len(distance))
