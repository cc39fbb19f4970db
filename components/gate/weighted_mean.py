"""The name by which evaluations of earlier versions know `Aggregate` of a metric that is a mean."""

from __future__ import annotations

from components.gate.aggregate import Aggregate


class WeightedMean(Aggregate):
    """sum(w * x) / sum(w) over predictions x with example weights w."""

    def __init__(self, name: str = "mean_prediction") -> None:
        super().__init__("mean_prediction", name)

    def get_config(self) -> dict[str, str]:
        return {"name": self.name}
