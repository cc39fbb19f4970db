"""What an erasure raises."""

from __future__ import annotations


class ErasureError(ValueError):
    """What was asked for can't be done; the message says why. Nothing was changed."""
