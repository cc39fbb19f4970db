"""The TFX component: what goes in and what comes out."""

from __future__ import annotations

from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import component_spec

from components import artifacts
from components.item_encoder.driver import Driver
from components.item_encoder.executor import Executor
from components.item_encoder.settings import Settings


class ItemEncoderSpec(types.ComponentSpec):
    """The interface of `ItemEncoder`."""

    PARAMETERS = {
        "span": component_spec.ExecutionParameter(type=int),
        "settings": component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {
        "catalogue": component_spec.ChannelParameter(type=artifacts.Catalogue),
        # A component's inputs and outputs may not share a name.
        "yesterday_encodings": component_spec.ChannelParameter(type=artifacts.ItemEncodings, optional=True),
        "tuned": component_spec.ChannelParameter(type=artifacts.TunedEncoder, optional=True),
    }
    OUTPUTS = {"encodings": component_spec.ChannelParameter(type=artifacts.ItemEncodings)}


class ItemEncoder(base_beam_component.BaseBeamComponent):
    """A catalogue's texts and yesterday's encodings to today's, which are of one encoder.

    A text is encoded when it was not there yesterday, whichever item has it. Another encoder, or the same one with
    another length or prefix, encodes everything anew and under another column; nothing of the former is taken over.

    Outputs:
      encodings: See `Encodings`. Custom properties: `span`, `width` and its counts (int); `encoder`, the digest,
        `column`, `text`, and `replaced_encoder`, the digest of yesterday's if it was another (string). Of a tuned
        encoder also `revision`, the first digits of its digest.
    """

    SPEC_CLASS = ItemEncoderSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)
    DRIVER_CLASS = Driver

    def __init__(
        self,
        catalogue: types.BaseChannel,
        span: int,
        settings: Settings,
        encodings: types.BaseChannel | None = None,
        tuned: types.BaseChannel | None = None,
    ):
        """Builds the component; several encoders of a graph are told apart with `with_id`.

        Args:
          catalogue: Parquet files with a column `item`, once each, and the column of texts.
          span: The number of the span.
          settings: The encoder, and how it is run.
          encodings: Yesterday's of the same encoder's name; absent, or resolved to nothing, on the first day. Of
            several those of today's encoder are gone on with.
          tuned: Of today, from `EncoderTuner`, whose published revision encodes; absent, the encoder as it is.
        """
        super().__init__(
            spec=ItemEncoderSpec(
                catalogue=catalogue,
                yesterday_encodings=encodings,
                tuned=tuned,
                span=span,
                settings=settings.to_json(),
                encodings=types.Channel(type=artifacts.ItemEncodings),
            )
        )
