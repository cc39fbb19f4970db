"""What can be set of the tuning of an encoder: the one definition, with its defaults and its bounds. No TensorFlow."""

from __future__ import annotations

from typing import Literal

import pydantic
from pydantic.dataclasses import dataclass

TuningMethod = Literal["lora", "full"]
# LoRA's matrices begin where nothing is changed, and take steps that would tear trained weights apart.
_RATES: dict[TuningMethod, float] = {"lora": 1e-3, "full": 2e-5}


@dataclass(frozen=True, config=pydantic.ConfigDict(extra="forbid"))
class Tuning:
    """How an encoder learns from the items that follow each other (`trainer.encoders.tuning`).

    Attributes:
      method: `lora` learns a low-rank change of the query and value kernels; `full` learns all weights.
      rank, alpha: of LoRA: the rank of the change, which is scaled by alpha / rank.
      learning_rate: of Adam; None for that of the method.
      every: spans (days) from one published revision to the next.
      epochs: passes over a span's positions.
      positions: most positions of a span that are learned from; of more so many are drawn.
      history: items before the one to predict whose texts are read.
      batch: positions in a step, each other's negatives.
      temperature: by which cosines are divided.
    """

    method: TuningMethod = "lora"
    rank: int = pydantic.Field(default=4, ge=1)
    alpha: float = pydantic.Field(default=8.0, gt=0)
    learning_rate: float | None = pydantic.Field(default=None, gt=0)
    every: int = pydantic.Field(default=7, ge=1)
    epochs: int = pydantic.Field(default=1, ge=1)
    positions: int = pydantic.Field(default=2000, ge=1)
    history: int = pydantic.Field(default=3, ge=1)
    batch: int = pydantic.Field(default=32, ge=2)
    temperature: float = pydantic.Field(default=0.05, gt=0)

    @pydantic.model_validator(mode="after")
    def _fits_its_method(self) -> Tuning:
        given = [name for name, default in (("rank", 4), ("alpha", 8.0)) if getattr(self, name) != default]
        if self.method == "full" and given:
            raise ValueError(
                f"`{given[0]}` has an effect with `method: lora` only. Received: {getattr(self, given[0])} with "
                "`method: full`. Take it out."
            )
        return self

    @property
    def rate(self) -> float:
        """The learning rate."""
        return _RATES[self.method] if self.learning_rate is None else self.learning_rate

    @property
    def scale(self) -> float:
        """What LoRA's product is multiplied with."""
        return self.alpha / self.rank
