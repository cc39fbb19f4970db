"""TFX component: see `SpanGuard`."""

from __future__ import annotations

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel, channel_utils, component_spec, standard_artifacts

from components.artifacts import SpanProfile
from components.span_guard.executor import Executor
from components.span_guard.limits import Rules


class SpanGuardSpec(component_spec.ComponentSpec):
    """The interface of `SpanGuard`."""

    INPUTS = {
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "anomalies": component_spec.ChannelParameter(type=standard_artifacts.ExampleAnomalies),
        "past": component_spec.ChannelParameter(type=SpanProfile, optional=True),
        "released": component_spec.ChannelParameter(type=SpanProfile, optional=True),
    }
    OUTPUTS = {"profile": component_spec.ChannelParameter(type=SpanProfile)}
    PARAMETERS = {
        "span": component_spec.ExecutionParameter(type=int),
        "dated": component_spec.ExecutionParameter(type=int),
        "rules": component_spec.ExecutionParameter(type=str),
    }


class SpanGuard(base_component.BaseComponent):
    """Holds a span that does not look like those before it, before anything is trained on it.

    Args:
      examples: of this span, from `SpanExampleGen`.
      anomalies: of this span, from ExampleValidator; `components/span_guard/anomalies.py` says which of them hold it.
      past, released: from the resolver `PastProfiles`; may resolve to nothing.
      span: the span's number.
      dated: whether the span is a day, so that it is known where it begins.
      rules: when spans are held.

    Outputs:
      profile: Figures and counts of this span; its custom property `held` is 1 for one that is held.
    """

    SPEC_CLASS = SpanGuardSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        examples: channel.BaseChannel,
        anomalies: channel.BaseChannel,
        span: int,
        dated: bool,
        rules: Rules,
        past: channel.BaseChannel | None = None,
        released: channel.BaseChannel | None = None,
    ) -> None:
        super().__init__(
            SpanGuardSpec(
                examples=examples,
                anomalies=anomalies,
                past=past,
                released=released,
                profile=channel_utils.as_channel([SpanProfile()]),
                span=span,
                dated=int(dated),
                rules=rules.to_json(),
            )
        )
