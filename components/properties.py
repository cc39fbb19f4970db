"""Properties of artifacts."""

from __future__ import annotations

import math
from collections.abc import Mapping

from tfx.types import artifact

# The property of a next-span evaluation that holds the champion's metrics on older spans, by span, as JSON.
OLDER = "older"


def set_finite(target: artifact.Artifact, numbers: Mapping[str, float]) -> None:
    """Sets float custom properties. What is not finite is left out: ML Metadata fails on it when it is stored."""
    for name, value in numbers.items():
        if math.isfinite(value):
            target.set_float_custom_property(name, value)
