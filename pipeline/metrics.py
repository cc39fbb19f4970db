"""The metric by which policies are compared, old spans tested again and a champion watched."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

LOWER_IS_BETTER = frozenset({"rmse", "log_loss"})
RANKED = frozenset({"recall", "ndcg", "mrr"})


def headline(metrics: Sequence[str]) -> str:
    """Recall, or the first metric of a model without it."""
    return "recall" if "recall" in metrics else metrics[0]


def watched(metrics: Iterable[str]) -> str:
    """Of what was measured the metric that stands for quality where there is room for one; empty for nothing."""
    names = list(metrics)
    return next((name for name in ("recall", "auc", "roc_auc", "rmse") if name in names), names[0] if names else "")


def title(metric: str, k: int) -> str:
    """As a metric is written for a reader: recall@20, rmse."""
    return f"{metric}@{k}" if metric in RANKED else metric


def lower_is_better(metric: str) -> bool:
    """Whether it is an error."""
    return metric in LOWER_IS_BETTER
