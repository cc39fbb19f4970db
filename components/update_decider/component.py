"""TFX component: see `UpdateDecider`."""

from __future__ import annotations

import json
from typing import Any

from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.types import artifact, channel, channel_utils, component_spec, standard_artifacts

from components.artifacts import Decision as DecisionArtifact
from components.update_decider.decision import decide


class Executor(base_executor.BaseExecutor):
    """Writes `decision.json`, and the action and its reason as properties of the artifact."""

    def Do(
        self,
        input_dict: dict[str, list[artifact.Artifact]],
        output_dict: dict[str, list[artifact.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        (sequences,) = input_dict["sequences"]
        (held_out,) = input_dict["held_out"]
        champion = input_dict.get("model") or []
        decision = decide(
            span=exec_properties["span"],
            champion_span=champion[0].get_int_custom_property("span") if champion else None,
            past=[past.get_int_custom_property("span") for past in input_dict.get("past_sequences") or []],
            new_events=sequences.get_int_custom_property("new_events"),
            held_out=held_out.get_int_custom_property("events"),
            min_held_out=exec_properties["min_held_out"],
            max_owed=exec_properties["max_owed"],
            retrain_spans=exec_properties["retrain_spans"],
        )
        (output,) = output_dict["decision"]
        decision.write(output.uri)
        output.set_int_custom_property("span", exec_properties["span"])
        output.set_string_custom_property("action", decision.action)
        output.set_string_custom_property("reason", decision.reason)
        output.set_string_custom_property("train_on", json.dumps(decision.train_on))


class _Spec(component_spec.ComponentSpec):
    INPUTS = {
        "sequences": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "held_out": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "past_sequences": component_spec.ChannelParameter(type=standard_artifacts.Examples, optional=True),
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model, optional=True),
    }
    OUTPUTS = {"decision": component_spec.ChannelParameter(type=DecisionArtifact)}
    PARAMETERS = {
        name: component_spec.ExecutionParameter(type=int)
        for name in ("span", "min_held_out", "max_owed", "retrain_spans")
    }


class UpdateDecider(base_component.BaseComponent):
    """Decides whether a span is skipped, fine-tuned on, or answered with training from fresh weights."""

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
    ) -> None:
        super().__init__(
            _Spec(
                sequences=sequences,
                held_out=held_out,
                past_sequences=past_sequences,
                model=model,
                decision=channel_utils.as_channel([DecisionArtifact()]),
                span=span,
                min_held_out=min_held_out,
                max_owed=max_owed,
                retrain_spans=retrain_spans,
            )
        )
