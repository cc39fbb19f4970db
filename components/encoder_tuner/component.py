"""The TFX component: what goes in and what comes out."""

from __future__ import annotations

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel, channel_utils, component_spec, standard_artifacts

from components import artifacts
from components.encoder_tuner.executor import Executor
from components.encoder_tuner.settings import Settings
from components.item_encoder.driver import Driver


class _Spec(component_spec.ComponentSpec):
    INPUTS = {
        "decision": component_spec.ChannelParameter(type=artifacts.Decision),
        "sequences": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "held_out": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "vocabulary": component_spec.ChannelParameter(type=artifacts.Vocabulary),
        "catalogue": component_spec.ChannelParameter(type=artifacts.Catalogue),
        "past_sequences": component_spec.ChannelParameter(type=standard_artifacts.Examples, optional=True),
        "base_tuned": component_spec.ChannelParameter(type=artifacts.TunedEncoder, optional=True),
        "last_tuned": component_spec.ChannelParameter(type=artifacts.TunedEncoder, optional=True),
    }
    OUTPUTS = {"tuned": component_spec.ChannelParameter(type=artifacts.TunedEncoder)}
    PARAMETERS = {
        "span": component_spec.ExecutionParameter(type=int),
        "version": component_spec.ExecutionParameter(type=int),
        "settings": component_spec.ExecutionParameter(type=str),
    }


class EncoderTuner(base_component.BaseComponent):
    """Goes on tuning the champion's encoder of one text on every span that the candidate learns.

    The `tuned` artifact holds `tuning/`, weights and optimizer slots of the next tuning, and `published/`, the revision
    that the text's `ItemEncoder` encodes with (see `publication`). It belongs to the candidate of its run, as a replay
    memory does: the next one goes on from that of the model in service. Where the candidate begins from nothing so does
    the tuning.

    Args:
      decision: what the candidate is trained on, from `UpdateDecider`.
      sequences, held_out, vocabulary: of this span, from `SpanTransform`.
      catalogue: of this span, from `CatalogueGen`.
      past_sequences: of the spans before.
      base_tuned: the one made together with the champion; may resolve to nothing.
      last_tuned: the last one before this span, whatever became of its candidate, likewise.
      span: the span's number.
      version: the number of the run.
      settings: the encoder, and how it learns.
    """

    SPEC_CLASS = _Spec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)
    DRIVER_CLASS = Driver

    def __init__(
        self,
        decision: channel.BaseChannel,
        sequences: channel.BaseChannel,
        held_out: channel.BaseChannel,
        vocabulary: channel.BaseChannel,
        catalogue: channel.BaseChannel,
        past_sequences: channel.BaseChannel,
        base_tuned: channel.BaseChannel,
        last_tuned: channel.BaseChannel,
        span: int,
        version: int,
        settings: Settings,
    ) -> None:
        """Builds the component; those of several texts are told apart with `with_id`."""
        super().__init__(
            _Spec(
                decision=decision,
                sequences=sequences,
                held_out=held_out,
                vocabulary=vocabulary,
                catalogue=catalogue,
                past_sequences=past_sequences,
                base_tuned=base_tuned,
                last_tuned=last_tuned,
                tuned=channel_utils.as_channel([artifacts.TunedEncoder()]),
                span=span,
                version=version,
                settings=settings.to_json(),
            )
        )
