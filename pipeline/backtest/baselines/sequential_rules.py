"""What came after the last item, the sooner the more."""

from __future__ import annotations

import math

import numpy as np

from pipeline.backtest.baselines.item_pairs import REACH, ItemPairs

_UNIT = math.lcm(*range(1, REACH + 1))  # its parts are whole numbers: sums are the same in any order


class SequentialRules(ItemPairs):
    """Items by how often they came at most 10 events after the history's last item, each time by one over how many.

    The sequential rules of Ludewig and Jannach ("Evaluation of session-based recommendation algorithms", UMUAI 28,
    2018, section 3.1): of an item that comes again one is that it does. Behind them comes what is popular.
    """

    name = "sequential rules"

    def _cells(
        self, earlier: np.ndarray, later: np.ndarray, distance: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return earlier, later, _UNIT // distance
