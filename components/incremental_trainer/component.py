"""TFX component: see `IncrementalTrainer`."""

from __future__ import annotations

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel, channel_utils, component_spec, standard_artifacts

from components import artifacts
from components.incremental_trainer.executor import Executor
from components.incremental_trainer.settings import Settings


class _Spec(component_spec.ComponentSpec):
    INPUTS = {
        "decision": component_spec.ChannelParameter(type=artifacts.Decision),
        "sequences": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "held_out": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "vocabulary": component_spec.ChannelParameter(type=artifacts.Vocabulary),
        "catalogue": component_spec.ChannelParameter(type=artifacts.Catalogue, optional=True),
        "encodings": component_spec.ChannelParameter(type=artifacts.ItemEncodings, optional=True),
        "past_sequences": component_spec.ChannelParameter(type=standard_artifacts.Examples, optional=True),
        "past_held_out": component_spec.ChannelParameter(type=standard_artifacts.Examples, optional=True),
        "past_vocabularies": component_spec.ChannelParameter(type=artifacts.Vocabulary, optional=True),
        "past_catalogues": component_spec.ChannelParameter(type=artifacts.Catalogue, optional=True),
        "base_model": component_spec.ChannelParameter(type=standard_artifacts.Model, optional=True),
        "teacher": component_spec.ChannelParameter(type=artifacts.Teacher, optional=True),
        "earlier_teacher": component_spec.ChannelParameter(type=artifacts.Teacher, optional=True),
        # A component's inputs and outputs may not share a name.
        "base_memory": component_spec.ChannelParameter(type=artifacts.ReplayMemory, optional=True),
    }
    OUTPUTS = {
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "memory": component_spec.ChannelParameter(type=artifacts.ReplayMemory),
    }
    PARAMETERS = {
        "span": component_spec.ExecutionParameter(type=int),
        "version": component_spec.ExecutionParameter(type=int),
        "settings": component_spec.ExecutionParameter(type=str),
    }


class IncrementalTrainer(base_component.BaseComponent):
    """Warm-starts the champion, trains it on every span that it owes, and exports the candidate as a bundle.

    The `model` artifact holds `Format-Serving/`, the bundle (`serving/bundle/`), and `state/`, the weights and the
    optimizer slots of the next warm start (`trainer/train_state.py`). The `memory` artifact holds the replay memory of
    all spans that this model has learned, an empty one without replay.

    Args:
      decision: what to train on, from `UpdateDecider`.
      sequences, held_out, vocabulary: of this span, from `SpanTransform`.
      catalogue: of this span, from `CatalogueGen`, where there is one.
      encodings: of this span, from all `ItemEncoder`s that there are.
      teacher: of this span, from `TeacherTrainer`, where there is one.
      earlier_teacher: the last one before, which teaches where this span's was not refreshed.
      past_sequences: of the spans before.
      past_held_out, past_vocabularies, past_catalogues: of those that the champion has not learned, which are learned
        amid what was known on their days.
      base_model: the champion; may resolve to nothing.
      base_memory: the replay memory made together with it, likewise.
      span: the span's number.
      version: the number that the candidate gets in TF Serving's folder.
      settings: model, update and export.
    """

    SPEC_CLASS = _Spec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        decision: channel.BaseChannel,
        sequences: channel.BaseChannel,
        held_out: channel.BaseChannel,
        vocabulary: channel.BaseChannel,
        past_sequences: channel.BaseChannel,
        base_model: channel.BaseChannel,
        base_memory: channel.BaseChannel,
        span: int,
        version: int,
        settings: Settings,
        catalogue: channel.BaseChannel | None = None,
        encodings: channel.BaseChannel | None = None,
        past_held_out: channel.BaseChannel | None = None,
        past_vocabularies: channel.BaseChannel | None = None,
        past_catalogues: channel.BaseChannel | None = None,
        teacher: channel.BaseChannel | None = None,
        earlier_teacher: channel.BaseChannel | None = None,
    ) -> None:
        super().__init__(
            _Spec(
                decision=decision,
                sequences=sequences,
                held_out=held_out,
                vocabulary=vocabulary,
                catalogue=catalogue,
                encodings=encodings,
                past_sequences=past_sequences,
                past_held_out=past_held_out,
                past_vocabularies=past_vocabularies,
                past_catalogues=past_catalogues,
                teacher=teacher,
                earlier_teacher=earlier_teacher,
                base_model=base_model,
                base_memory=base_memory,
                model=channel_utils.as_channel([standard_artifacts.Model()]),
                memory=channel_utils.as_channel([artifacts.ReplayMemory()]),
                span=span,
                version=version,
                settings=settings.to_json(),
            )
        )
