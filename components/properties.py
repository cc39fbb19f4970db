"""Numbers as properties of an artifact."""

from __future__ import annotations

import math
from collections.abc import Mapping

from tfx.types import artifact


def set_finite(target: artifact.Artifact, numbers: Mapping[str, float]) -> None:
    """Sets float custom properties. What is not finite is left out: ML Metadata fails on it when it is stored."""
    for name, value in numbers.items():
        if math.isfinite(value):
            target.set_float_custom_property(name, value)
