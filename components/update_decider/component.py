"""TFX component: see `UpdateDecider`."""

from __future__ import annotations

import json
from typing import Any

from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.types import artifact, channel, channel_utils, component_spec, standard_artifacts

from components import artifacts
from components.update_decider.backoff import VERDICT_TEXTS, Backoff, PastVerdict, next_backoff
from components.update_decider.decision import decide
from components.update_decider.policy import UpdatePolicy
from components.update_decider.signals import read_signals


class Executor(base_executor.BaseExecutor):
    """Writes `decision.json` and `signals.json`, and the action and its reason as properties of the artifact."""

    def Do(
        self,
        input_dict: dict[str, list[artifact.Artifact]],
        output_dict: dict[str, list[artifact.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        (sequences,) = input_dict["sequences"]
        (held_out,) = input_dict["held_out"]
        champion = input_dict.get("model") or []
        span, rules = exec_properties["span"], UpdatePolicy.from_json(exec_properties["rules"])
        signals = read_signals(rules, span, input_dict)
        decision = decide(
            span=span,
            champion_span=champion[0].get_int_custom_property("span") if champion else None,
            past=[past.get_int_custom_property("span") for past in input_dict.get("past_sequences") or []],
            new_events=sequences.get_int_custom_property("new_events"),
            held_out=artifacts.verdict_events(held_out),
            min_held_out=exec_properties["min_held_out"],
            max_owed=exec_properties["max_owed"],
            retrain_spans=exec_properties["retrain_spans"],
            rules=rules,
            signals=signals,
            override=exec_properties.get("overrule") or None,
            backoff=_backoff(rules, input_dict.get("past_verdicts") or []),
        )
        (output,) = output_dict["decision"]
        decision.write(output.uri)
        signals.write(output.uri)
        output.set_int_custom_property("span", span)
        output.set_string_custom_property("action", decision.action)
        output.set_string_custom_property("reason", decision.reason)
        output.set_string_custom_property("train_on", json.dumps(decision.train_on))
        for name in ("overruled", "drift", "learning"):
            if text := getattr(decision, name):
                output.set_string_custom_property(name, text)


def _backoff(rules: UpdatePolicy, verdicts: list[artifact.Artifact]) -> Backoff:
    past = [
        PastVerdict.of(
            {
                **{name: verdict.get_int_custom_property(name) for name in ("span", "backoff")},
                **{name: verdict.get_string_custom_property(name) for name in VERDICT_TEXTS},
            }
        )
        for verdict in verdicts
    ]
    return next_backoff(past[-1] if past else None, rules.after_refusal, rules.unit == "day")


_OF_TODAY = {
    "evaluation": artifacts.NextSpanEvaluation,
    "vocabulary": artifacts.Vocabulary,
    "statistics": standard_artifacts.ExampleStatistics,
}
_OF_BEFORE = {
    "past_sequences": standard_artifacts.Examples,
    "model": standard_artifacts.Model,
    "evaluations": artifacts.NextSpanEvaluation,
    "past_statistics": standard_artifacts.ExampleStatistics,
    "verdicts": standard_artifacts.PushedModel,
    "decisions": artifacts.Decision,
    "past_verdicts": standard_artifacts.PushedModel,
}


class _Spec(component_spec.ComponentSpec):
    INPUTS = {
        "sequences": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "held_out": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        **{
            name: component_spec.ChannelParameter(type=kind, optional=True)
            for name, kind in {**_OF_TODAY, **_OF_BEFORE}.items()
        },
    }
    OUTPUTS = {"decision": component_spec.ChannelParameter(type=artifacts.Decision)}
    PARAMETERS = {
        **{
            name: component_spec.ExecutionParameter(type=int)
            for name in ("span", "min_held_out", "max_owed", "retrain_spans")
        },
        "rules": component_spec.ExecutionParameter(type=str),
        "overrule": component_spec.ExecutionParameter(type=str, optional=True),
    }


class UpdateDecider(base_component.BaseComponent):
    """Decides whether a span is skipped, fine-tuned on, or answered with training from fresh weights.

    Args:
      sequences, held_out: of this span, from `SpanTransform`.
      past_sequences: of the spans before.
      model: the champion; may resolve to nothing.
      span: the span's number.
      min_held_out, max_owed, retrain_spans, rules: see `decide`.
      override: what the user wants instead of what the policy decides.
      signals: `past_verdicts`, by which the learning is changed; and what the policy looks at, by the names in
        `read_signals`. All may resolve to nothing.
    """

    SPEC_CLASS = _Spec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        sequences: channel.BaseChannel,
        held_out: channel.BaseChannel,
        past_sequences: channel.BaseChannel,
        model: channel.BaseChannel,
        span: int,
        min_held_out: int,
        max_owed: int,
        retrain_spans: int,
        rules: UpdatePolicy,
        override: str | None = None,
        **signals: channel.BaseChannel,
    ) -> None:
        super().__init__(
            _Spec(
                sequences=sequences,
                held_out=held_out,
                past_sequences=past_sequences,
                model=model,
                decision=channel_utils.as_channel([artifacts.Decision()]),
                span=span,
                min_held_out=min_held_out,
                max_owed=max_owed,
                retrain_spans=retrain_spans,
                rules=rules.to_json(),
                overrule=override,
                **signals,
            )
        )
