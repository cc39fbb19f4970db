"""TFX component: see `TeacherTrainer`."""

from __future__ import annotations

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel, channel_utils, component_spec, standard_artifacts

from components import artifacts
from components.teacher_trainer.executor import Executor
from components.teacher_trainer.settings import Settings


class _Spec(component_spec.ComponentSpec):
    INPUTS = {
        "decision": component_spec.ChannelParameter(type=artifacts.Decision),
        "sequences": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "held_out": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "vocabulary": component_spec.ChannelParameter(type=artifacts.Vocabulary),
        "catalogue": component_spec.ChannelParameter(type=artifacts.Catalogue, optional=True),
        "encodings": component_spec.ChannelParameter(type=artifacts.ItemEncodings, optional=True),
        "past_sequences": component_spec.ChannelParameter(type=standard_artifacts.Examples, optional=True),
        # A component's inputs and outputs may not share a name.
        "earlier_teacher": component_spec.ChannelParameter(type=artifacts.Teacher, optional=True),
    }
    OUTPUTS = {"teacher": component_spec.ChannelParameter(type=artifacts.Teacher)}
    PARAMETERS = {
        "span": component_spec.ExecutionParameter(type=int),
        "version": component_spec.ExecutionParameter(type=int),
        "settings": component_spec.ExecutionParameter(type=str),
    }


class TeacherTrainer(base_component.BaseComponent):
    """A model of another shape, warm-started from the last teacher on all spans since, where one is due.

    The `teacher` artifact then holds `state/`, as a trained model's does (`trainer/train_state.py`); on other nights it
    has no files. Every night it bears, as properties, which version of the teacher is present, whether it was refreshed
    and why, and what it scores on the events that judge the candidate. It is never exported, judged or pushed.

    Args:
      decision: what its student is trained on, from `UpdateDecider`.
      sequences, held_out, vocabulary: of this span, from `SpanTransform`.
      past_sequences: of the spans before.
      earlier_teacher: the last one before this span; may resolve to nothing.
      span: the span's number.
      version: the number of the run.
      settings: model, update, and when it is due.
      catalogue: of this span, from `CatalogueGen`, where there is one.
      encodings: of this span, from all `ItemEncoder`s that there are.
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
        earlier_teacher: channel.BaseChannel,
        span: int,
        version: int,
        settings: Settings,
        catalogue: channel.BaseChannel | None = None,
        encodings: channel.BaseChannel | None = None,
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
                earlier_teacher=earlier_teacher,
                teacher=channel_utils.as_channel([artifacts.Teacher()]),
                span=span,
                version=version,
                settings=settings.to_json(),
            )
        )
