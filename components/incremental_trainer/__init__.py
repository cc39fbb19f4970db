"""Trains a candidate from the champion on the spans that it owes."""

from components.incremental_trainer.component import IncrementalTrainer

__all__ = ["IncrementalTrainer"]
