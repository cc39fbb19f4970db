"""What the gate would say of a candidate, as far as the next update is changed by it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from components.paired_comparison.judgement import Judgement, judge
from components.paired_comparison.lesson import Lesson, lesson_of
from components.paired_comparison.retention import OlderSpan, retention_on
from components.paired_comparison.scoring import Events
from pipeline.backtest.prepared_spans import PreparedSpan
from pipeline.config import Config
from pipeline.parameters.comparison_rules import comparison_rules
from pipeline.parameters.look_back import PAST_SPANS
from trainer.held_out_parts import VERDICT, held_out_files
from trainer.metric_aggregation import levels


class Judged(NamedTuple):
    """`lesson`, and the candidate's own `levels` on the verdict part, for the nights after."""

    lesson: Lesson
    levels: Mapping[str, float]


def judged(
    config: Config,
    candidate: Any,
    champion: Any,
    span: PreparedSpan,
    past: Sequence[tuple[PreparedSpan, Mapping[str, float]]],
    weighted: bool,
) -> Judged:
    """The pipeline's paired comparison on the same events: against the champion, and retention. No floor, no anchor.

    Args:
      config: settings.
      candidate, champion: their signatures, see `as_signature`; without a champion there is nothing to be worse than.
      span: tonight's, whose verdict part judges.
      past: those before the last one that the champion has learned, each with the levels of its own night.
      weighted: whether events count by their weights.
    """
    rules = comparison_rules(config)
    how = config.vocabulary.oov_rows, config.history.length, weighted
    tonight = Events(held_out_files(span.folder / "held_out", VERDICT), *how)
    ours = tonight.score(candidate)
    own = levels(ours, tonight.weights)
    if champion is None:
        return Judged(lesson_of(Judgement(), True, False, rules.min_events), own)
    against = tonight.gains(ours, tonight.score(champion), rules.lower_is_better)
    older = [OlderSpan(held_out_files(of.folder / "held_out", VERDICT), before) for of, before in past[-PAST_SPANS:]]
    older = [] if rules.retention is None else older
    retention = retention_on(older, candidate, champion, *how, rules.lower_is_better)
    judgement = judge(rules, against, retention=retention.gains, unlearned=retention.unlearned)
    return Judged(lesson_of(judgement, not judgement.refused, False, rules.min_events), own)
