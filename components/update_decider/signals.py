"""What a policy looks at, read from the artifacts of this span and of those before."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tfx.types import artifact, artifact_utils

from components.artifacts import OLDER
from components.resolvers import retrained
from components.update_decider.backoff import FROM_NOTHING
from components.update_decider.policy import Measure, Signals, UpdatePolicy
from trainer.vocabulary import share_new

_STATISTICS_FILE, _SPLIT = "FeatureStats.pb", "train"

Artifacts = Mapping[str, Sequence[artifact.Artifact]]


def read_signals(rules: UpdatePolicy, span: int, inputs: Artifacts) -> Signals:
    """Measures what `rules` sets limits for.

    Args:
      rules: the policy.
      span: the span that is decided on.
      inputs: by name, what is there of: `evaluation` and `vocabulary` of this span, `model` (the champion); of spans
        before `evaluations`, `verdicts` and `decisions`; `statistics` and `past_statistics`.

    Raises:
      DriftError: a column can't be compared as asked.
    """
    (evaluation,) = inputs.get("evaluation") or [None]
    vocabulary = inputs.get("vocabulary") or []
    champion = inputs.get("model") or []

    def share(kind: str, asked: bool) -> float | None:
        return share_new(vocabulary[0].uri, kind, span) if asked and vocabulary else None

    return Signals(
        next_span=_metric(evaluation, rules.metric),
        past_next_span=tuple(
            value
            for evaluation in inputs.get("evaluations") or []
            if (value := _metric(evaluation, rules.metric)) is not None
        ),
        drift=_drift(rules, inputs),
        retention=_retention(rules.metric, evaluation, inputs.get("verdicts") or []),
        new_items=share("items", rules.new_items.set),
        new_keys=share("keys", rules.new_keys.set),
        retrained=retrained(champion[0]) if champion else None,
        tried=max(
            (
                decision.get_int_custom_property("span")
                for decision in inputs.get("decisions") or []
                if decision.get_string_custom_property("action") in FROM_NOTHING
            ),
            default=None,
        ),
    )


def _metric(evaluation: artifact.Artifact | None, name: str) -> float | None:
    if evaluation is None or not evaluation.has_custom_property(name):
        return None
    return evaluation.get_float_custom_property(name)


def _retention(
    metric: str, evaluation: artifact.Artifact | None, verdicts: Sequence[artifact.Artifact]
) -> tuple[tuple[float, float], ...]:
    """The champion's metric on older held-out events, and that of the candidate which the gate tried on them."""
    text = evaluation.get_string_custom_property(OLDER) if evaluation is not None else ""
    now = {int(span): metrics for span, metrics in json.loads(text or "{}").items()}
    then = {verdict.get_int_custom_property("span"): _metric(verdict, f"candidate_{metric}") for verdict in verdicts}
    return tuple(
        (now[span][metric], value)
        for span in sorted(now)
        if metric in now[span] and (value := then.get(span)) is not None
    )


def _drift(rules: UpdatePolicy, inputs: Artifacts) -> tuple[tuple[str, Measure, float], ...]:
    today, before = inputs.get("statistics") or [], inputs.get("past_statistics") or []
    if not rules.drift or not today:
        return ()
    # Only a policy that looks at drift pays for the import of TFDV.
    from components.update_decider.drift import distances

    load = _loader()
    return distances(load(today[0]), [load(statistics) for statistics in before], rules.drift)


def _loader() -> Callable[[artifact.Artifact], Any]:
    import tensorflow_data_validation as tfdv

    def load(statistics: artifact.Artifact) -> Any:
        folder = Path(artifact_utils.get_split_uri([statistics], _SPLIT))
        return tfdv.load_stats_binary(str(folder / _STATISTICS_FILE))

    return load
