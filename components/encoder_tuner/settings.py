"""What the tuning of the encoder of one text can be told."""

from __future__ import annotations

import dataclasses

from components.json_parameter import JsonParameter
from trainer.encoders.tuning_settings import Tuning


@dataclasses.dataclass(frozen=True)
class Settings(JsonParameter):
    """The settings of one text's tuning, as one JSON string among the component's execution parameters.

    Attributes:
      folder, text, max_tokens, prefix: As of the text's `ItemEncoder`, which runs what is tuned here.
      tuning: How it learns, and how often a revision is published.
      seed: Of all that is drawn.
    """

    folder: str
    text: str
    max_tokens: int
    prefix: str
    tuning: Tuning
    seed: int
