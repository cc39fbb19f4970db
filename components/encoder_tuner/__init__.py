"""Tunes the encoder of a text on what follows what, and publishes a revision of it now and then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from components.encoder_tuner.settings import Settings
from components.on_demand import on_demand

if TYPE_CHECKING:
    from components.encoder_tuner.component import EncoderTuner

__all__ = ["EncoderTuner", "Settings"]

__getattr__ = on_demand(__name__, EncoderTuner="component")
