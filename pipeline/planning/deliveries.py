"""What lies in the data folder for each span, as TFX will see it."""

from __future__ import annotations

from tfx.proto import example_gen_pb2, range_config_pb2

from components.span_example_gen.driver import SpanInputProcessor
from components.suppression_list import SuppressionList
from pipeline.config import Config
from pipeline.planning.differences import Delivery
from pipeline.spans import delivered


def read_deliveries(config: Config) -> dict[int, Delivery]:
    """Every span that has files, in order, with its newest version and TFX's fingerprint of the files.

    Spans that were forgotten are left out: they count as never delivered.
    """
    forgotten = SuppressionList.load(config.suppression_list_path)
    deliveries = delivered(config.data.path, config.data.pattern)
    return {span: _delivery(config, span) for span in deliveries if forgotten is None or span not in forgotten.spans}


def _delivery(config: Config, span: int) -> Delivery:
    processor = SpanInputProcessor(
        str(config.data.path),
        [example_gen_pb2.Input.Split(name="span", pattern=config.data.pattern)],
        range_config_pb2.RangeConfig(
            static_range=range_config_pb2.StaticRange(start_span_number=span, end_span_number=span)
        ),
    )
    _, version = processor.resolve_span_and_version()
    return Delivery(version, processor.get_input_fingerprint(span, version) or "")
