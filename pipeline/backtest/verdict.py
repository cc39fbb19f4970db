"""What the gate would say of a candidate, as far as the next update is changed by it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from components.paired_comparison.comparison import RETENTION_EVENTS
from components.paired_comparison.judgement import Judgement, judge
from components.paired_comparison.lesson import Lesson, lesson_of
from components.paired_comparison.scoring import Events
from pipeline.backtest.prepared_spans import PreparedSpan
from pipeline.config import Config
from pipeline.parameters.comparison_rules import PAST_SPANS, comparison_rules
from trainer.held_out_parts import VERDICT, held_out_files


def judged(
    config: Config, candidate: Any, champion: Any, span: PreparedSpan, past: Sequence[PreparedSpan], weighted: bool
) -> Lesson:
    """The pipeline's paired comparison on the same events: against the champion, and retention. No floor, no anchor.

    Args:
      config: settings.
      candidate, champion: their signatures, see `as_signature`; without a champion there is nothing to be worse than.
      span: tonight's, whose verdict part judges.
      past: those before the last one that the champion has learned.
      weighted: whether events count by their weights.
    """
    rules = comparison_rules(config)
    if champion is None:
        return lesson_of(Judgement(), True, False, rules.min_events)
    how = config.history.length, weighted, rules.lower_is_better
    oov_rows = config.vocabulary.oov_rows
    tonight = Events(held_out_files(span.folder / "held_out", VERDICT), oov_rows).gains(candidate, champion, *how)
    files = [path for older in past[-PAST_SPANS:] for path in held_out_files(older.folder / "held_out")]
    retention = None
    if files and rules.retention is not None:
        retention = Events(files, oov_rows, RETENTION_EVENTS).gains(candidate, champion, *how)
    judgement = judge(rules, tonight, retention=retention)
    return lesson_of(judgement, not judgement.refused, False, rules.min_events)
