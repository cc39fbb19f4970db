"""What a score is the sum of."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

import numpy as np

# How the events' terms come about. `linear`: an event's weight depends on its place alone. `attention`: on the whole
# history, through attention over the events' own vectors. `ridge`: on the whole history, through a least squares fit.
Method = Literal["linear", "attention", "ridge"]


@dataclasses.dataclass(frozen=True)
class Attribution:
    """The terms of one score. All of them together are the score, but for rounding.

    Attributes:
      method: how the events' terms come about.
      events: float64 [h], of each place of the history; 0 where it is padding.
      rest: what the score has from elsewhere, by name.
      of_item: the product of vectors once more, by what the item's vector is the sum of: its id and each of its
        features. Empty where there are no features of items.
    """

    method: Method
    events: np.ndarray
    rest: Mapping[str, float]
    of_item: Mapping[str, float] = dataclasses.field(default_factory=dict)

    @property
    def total(self) -> float:
        return float(self.events.sum()) + sum(self.rest.values())
