"""The metric by which policies are compared, old spans tested again and a champion watched."""

from __future__ import annotations

from collections.abc import Sequence

from trainer.metrics import ROOT_OF_MEAN

RANKED = frozenset({"recall", "ndcg", "mrr"})


def headline(metrics: Sequence[str]) -> str:
    """Recall, or the first metric of a model without it."""
    return "recall" if "recall" in metrics else metrics[0]


def title(metric: str, k: int) -> str:
    """As a metric is written for a reader: recall@20, rmse."""
    return f"{metric}@{k}" if metric in RANKED else metric


def lower_is_better(metric: str) -> bool:
    """Whether it is an error."""
    return metric in ROOT_OF_MEAN
