"""The settings of the gate as the paired comparison is given them."""

from __future__ import annotations

from components.paired_comparison.judgement import OVERALL, Rules
from pipeline.config import Config, Threshold
from pipeline.metrics import LOWER_IS_BETTER


def comparison_rules(config: Config) -> Rules:
    """What a candidate may lose, and how sure that has to be."""
    gate = config.gate

    def limits(thresholds: dict[str, Threshold]) -> dict[str, float]:
        return {name: limit.max_drop for name, limit in thresholds.items() if limit.max_drop is not None}

    by_slice = {where: limits(of_slice) for where, of_slice in gate.slice_thresholds.items()}
    return Rules(
        max_drop={OVERALL: limits(gate.thresholds), **by_slice},
        lower_is_better=tuple(sorted(LOWER_IS_BETTER)),
        confidence=gate.confidence,
        min_events=gate.min_verdict_events,
        min_slice_events=gate.min_slice_events,
        pool_events=gate.pool_events,
        anchor_spans=gate.anchor_spans,
        budget=gate.budget,
        retention=gate.retention,
        refuse_little=gate.on_little_evidence == "refuse",
    )
