"""The TFX component: what goes in and what comes out."""

from __future__ import annotations

from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import component_spec, standard_artifacts

from components import artifacts
from components.span_transform.executor import Executor
from components.span_transform.settings import Settings


class SpanTransformSpec(types.ComponentSpec):
    """The interface of `SpanTransform`."""

    PARAMETERS = {
        "span": component_spec.ExecutionParameter(type=int),
        "settings": component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {
        "events": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        # A component's inputs and outputs may not share a name.
        "yesterday_vocabulary": component_spec.ChannelParameter(type=artifacts.Vocabulary, optional=True),
        "yesterday_history": component_spec.ChannelParameter(type=artifacts.KeyHistory, optional=True),
        "catalogue": component_spec.ChannelParameter(type=artifacts.Catalogue, optional=True),
    }
    OUTPUTS = {
        "sequences": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "held_out": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "vocabulary": component_spec.ChannelParameter(type=artifacts.Vocabulary),
        "history": component_spec.ChannelParameter(type=artifacts.KeyHistory),
    }


class SpanTransform(base_beam_component.BaseBeamComponent):
    """Clean events and yesterday's state to training sequences, held-out positions and today's state.

    Outputs:
      sequences: Examples, split `train`: a key's last events, those trained on today marked.
      held_out: Examples, one a held-out event, with what came before it; splits `select` and `verdict`, by key.
      vocabulary: Items and keys, grown by what is trained on today and, of items, by what the catalogue sells; beside
        them what is known of the features of items, keys and context (`trainer/features/feature_state.py`).
      history: Every key's last events.
    """

    SPEC_CLASS = SpanTransformSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(
        self,
        events: types.BaseChannel,
        span: int,
        settings: Settings,
        vocabulary: types.BaseChannel | None = None,
        history: types.BaseChannel | None = None,
        catalogue: types.BaseChannel | None = None,
    ):
        """Builds the component.

        Args:
          events: Examples with the splits `train` and `eval`.
          span: The number of the span.
          settings: Lengths, counts and rows.
          vocabulary: Yesterday's; absent, or resolved to nothing, on the first day.
          history: Yesterday's, likewise.
          catalogue: Of this span, from `CatalogueGen`.
        """
        super().__init__(
            spec=SpanTransformSpec(
                events=events,
                yesterday_vocabulary=vocabulary,
                yesterday_history=history,
                catalogue=catalogue,
                span=span,
                settings=settings.to_json(),
                sequences=types.Channel(type=standard_artifacts.Examples),
                held_out=types.Channel(type=standard_artifacts.Examples),
                vocabulary=types.Channel(type=artifacts.Vocabulary),
                history=types.Channel(type=artifacts.KeyHistory),
            )
        )
