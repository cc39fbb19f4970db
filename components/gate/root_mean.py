"""The name by which evaluations of earlier versions know `Aggregate` of `rmse`."""

from __future__ import annotations

from components.gate.aggregate import Aggregate


class RootMean(Aggregate):
    """sqrt(sum(w * x) / sum(w)) over predictions x with example weights w."""

    def __init__(self, name: str = "root_mean") -> None:
        super().__init__("rmse", name)

    def get_config(self) -> dict[str, str]:
        return {"name": self.name}
