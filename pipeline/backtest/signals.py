"""What a policy looks at, read from a backtest's rows and spans instead of from the lineage."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from components.update_decider.backoff import FROM_NOTHING
from components.update_decider.policy import DriftRule, Measure, Signals
from pipeline.backtest.prepared_spans import PreparedSpan
from pipeline.backtest.results import Row
from pipeline.config import Config
from pipeline.parameters.graph_parameters import GraphParameters
from trainer.vocabulary import share_new

# The champion's metrics on the held-out events of an older span.
TestOlder = Callable[[PreparedSpan], dict[str, float]]


def signals(
    config: Config,
    given: GraphParameters,
    spans: Sequence[PreparedSpan],
    rows: Sequence[Row],
    metrics: dict[str, float],
    test_older: TestOlder,
) -> Signals:
    """Measures what the policy sets limits for, of the span after those that `rows` are of.

    Args:
      config: the policy's settings.
      given: the same, as the decision reads them.
      spans: all spans.
      rows: of the spans before, in order.
      metrics: of the next-span test; empty without a champion.
      test_older: called for each older span that retention is measured on; not without a champion.
    """
    index, rules = len(rows), given.policy
    span = spans[index]
    tried = [span.number for span, row in zip(spans, rows, strict=False) if row.action in FROM_NOTHING]

    def before(name: str) -> range:
        count, passed_over = given.windows.get(name, (0, 0))
        return range(max(0, index - passed_over - count), max(0, index - passed_over))

    def share(kind: str, needed: bool) -> float | None:
        return share_new(span.folder / "vocabulary", kind, span.number) if needed else None

    older = before("older_held_out") if metrics else range(0)
    return Signals(
        next_span=metrics.get(rules.metric),
        past_next_span=tuple(
            rows[at].metrics[rules.metric] for at in before("evaluations") if rules.metric in rows[at].metrics
        ),
        drift=_drift(config, rules.drift, span, [spans[at] for at in before("past_statistics")]),
        retention=tuple(
            (test_older(spans[at])[rules.metric], then) for at in older if (then := rows[at].held_out) is not None
        ),
        new_items=share("items", rules.new_items.set),
        new_keys=share("keys", rules.new_keys.set),
        # Every candidate goes into service: what was tried is what the champion descends from.
        retrained=tried[-1] if tried else None,
        tried=tried[-1] if tried else None,
    )


def _drift(
    config: Config, rules: Sequence[DriftRule], span: PreparedSpan, past: Sequence[PreparedSpan]
) -> tuple[tuple[str, Measure, float], ...]:
    if not rules:
        return ()
    # Only a policy that looks at drift pays for the import of TFDV.
    from components.update_decider.drift import distances
    from pipeline.backtest.statistics import statistics_of

    return distances(statistics_of(config, span), [statistics_of(config, past_span) for past_span in past], rules)
