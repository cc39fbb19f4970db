"""Decides, before training, what is done with a span."""

from components.update_decider.component import UpdateDecider

__all__ = ["UpdateDecider"]
