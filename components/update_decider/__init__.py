"""Decides, before training, what is done with a span."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from components.update_decider.component import UpdateDecider

__all__ = ["UpdateDecider"]


def __getattr__(name: str) -> Any:
    # What the next update learns by is also said by commands that must not wait for TFX.
    if name == "UpdateDecider":
        from components.update_decider.component import UpdateDecider

        return UpdateDecider
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
