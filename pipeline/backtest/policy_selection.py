"""Which policy to take: the best one, or a cheaper one that can't be told from it."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Sequence

from pipeline.backtest.policies import Policy
from pipeline.backtest.results import Row
from pipeline.backtest.summary import by_policy
from pipeline.config import Config, ConfigError
from pipeline.metrics import headline, lower_is_better, title


@dataclasses.dataclass(frozen=True)
class Winner:
    """A policy's name, and why it is the one, in a sentence."""

    policy: str
    why: str


def find_winner(rows: Sequence[Row], metrics: Sequence[str], k: int) -> Winner | None:
    """The policy with the best mean of the first metric over the tested spans, or a cheaper one tied with it.

    A policy is tied with the best if the mean of their differences, span by span, is at most its standard error: good
    and bad days are the same for all policies and so fall out of the differences. Of those tied, the one that trained
    the fewest seconds wins.

    Returns:
      None if nothing was tested.
    """
    metric = headline(metrics)
    sign = -1.0 if lower_is_better(metric) else 1.0
    curves = {policy: _by_span(seeds, metric) for policy, seeds in by_policy(rows).items()}
    means = {policy: statistics.fmean(curve.values()) for policy, curve in curves.items() if curve}
    if not means:
        return None
    best = max(means, key=lambda policy: sign * means[policy])
    tied = [policy for policy in means if policy != best and _tied(curves[best], curves[policy], sign)]
    seconds = {
        policy: sum(row.seconds for seed_rows in seeds.values() for row in seed_rows) / len(seeds)
        for policy, seeds in by_policy(rows).items()
    }
    winner = min([best, *tied], key=lambda policy: seconds[policy])
    name, spans = title(metric, k), len(curves[best])
    sentence = f"{winner} wins: its {name} of {means[winner]:.4f}, the mean of {spans} spans,"
    if winner != best:
        return Winner(
            winner,
            f"{sentence} is within one standard error of the best, {means[best]:.4f} of {best}, and it trains "
            f"{seconds[winner]:,.1f} instead of {seconds[best]:,.1f} seconds.",
        )
    if tied:
        return Winner(winner, f"{sentence} is the best, and nothing within one standard error of it trains faster.")
    return Winner(winner, f"{sentence} is the best, and nothing else is within one standard error of it.")


def settings_of(winner: Winner | None, policies: Sequence[Policy]) -> Config:
    """The settings under which the pipeline does what the winner did.

    Raises:
      ConfigError: no settings can say it, or there is no winner.
    """
    if winner is None:
        raise ConfigError("`--write-config` must have a winner. Received: no policy that was tested on a span.")
    policy = next((candidate for candidate in policies if candidate.name == winner.policy), None)
    if policy is not None and policy.learn == "fine_tune":
        return policy.config
    what = "a baseline that learns nothing" if policy is None else f"a policy with `learn: {policy.learn}`"
    raise ConfigError(
        f"`--write-config` must have a winner that fine-tunes, for the settings file has no word for other ways to "
        f"learn. Received: {winner.policy}, {what}. Nothing was written; try policies of your own with `--policies`."
    )


def _by_span(seeds: dict[int, list[Row]], metric: str) -> dict[str, float]:
    values: dict[str, list[float]] = {}
    for rows in seeds.values():
        for row in rows:
            if row.events and metric in row.metrics:
                values.setdefault(row.span, []).append(row.metrics[metric])
    return {span: statistics.fmean(seed_values) for span, seed_values in values.items()}


def _tied(best: dict[str, float], other: dict[str, float], sign: float) -> bool:
    differences = [sign * (best[span] - other[span]) for span in best if span in other]
    if not differences:
        return False
    error = statistics.stdev(differences) / math.sqrt(len(differences)) if len(differences) > 1 else 0.0
    return statistics.fmean(differences) <= error
