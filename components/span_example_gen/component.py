"""TFX's file-based ExampleGen with a recommender's checks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf import wrappers_pb2
from tfx.components.example_gen import component
from tfx.dsl.components.base import executor_spec
from tfx.proto import example_gen_pb2, range_config_pb2

from components.span_example_gen import driver, executor
from components.span_example_gen.settings import make_settings


class SpanExampleGen(component.FileBasedExampleGen):
    """Turns one span's files into event Examples, split `train` and `eval` by time.

    Span and version resolution, fingerprint and caching are TFX's. `outputs["examples"]` holds gzipped TFRecords of
    tf.Example with the features `key`, `item` (bytes), `timestamp` (int64, unix milliseconds), `weight` (float, 1.0
    without weights), those of key and context (`event_features.py`) and the context columns under their own
    names: bytes from CSV; bytes, int64 or float from the other formats by the span's values. Beside the splits lies
    `rejects.csv` (file, line, reason, value). Custom
    properties: `span`, `version`, `rows`, `events`, `train_events`, `eval_events`, `rejects`, `duplicates`, `late`,
    `early` (int), `reject_reasons` (JSON, reason to count) and, where features are declared, `features` (JSON: of each
    how many events are without a value, or with one that can't be read); rows = events + rejects + duplicates.

    Events with the same key, item, millisecond, weight, context and features are duplicates; the first in the files is
    kept.

    Within each file events stand in time order, ties in the order of the user's files. A stable sort by `timestamp`
    over a split's files in name order therefore gives the span's one order: timestamp, then place in the user's files.
    """

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)
    DRIVER_CLASS = driver.SpanDriver

    def __init__(self, input_base: str, data: Mapping[str, Any], span: int, pattern: str, eval_fraction: float) -> None:
        """Describes the ingestion of one span.

        Args:
          input_base: the folder that holds all spans.
          data: the `data` section of the settings as plain values: `format`, `columns` (`key`, `item`, `timestamp`,
            `weight`, `context`), `timestamp_unit`, `timestamp_format`, `span_hours`, `late`, `decimal_ids`,
            `weight_above`, `reject` (a list of `column`, `matches`, `reason`), `max_reject_fraction`; and
            `query_features`, those of key and context. Other settings of that section are left alone.
          span: the span's number; for dated patterns days since 1970-01-01.
          pattern: where a span's files lie below `input_base`: `{YYYY}-{MM}-{DD}/*` or `{SPAN}/*`, with `v{VERSION}/`
            where days are delivered again. A span without any version folder is then read from the folder that would
            hold them, as version 0.
          eval_fraction: the share of the span's events, its last ones by time, that is held out; at least 0, below 1.

        Raises:
          SpanError: a setting can't be used.
        """
        settings = make_settings(data, pattern, eval_fraction)
        custom_config = example_gen_pb2.CustomConfig()
        custom_config.custom_config.Pack(wrappers_pb2.StringValue(value=settings.to_json()))
        splits = [example_gen_pb2.Input.Split(name="span", pattern=pattern)]
        super().__init__(
            input_base=str(input_base),
            input_config=example_gen_pb2.Input(splits=splits),
            output_config=example_gen_pb2.Output(
                split_config=example_gen_pb2.SplitConfig(
                    # TFX wants buckets of a hash here. The cut is by time: these only name the splits.
                    splits=[example_gen_pb2.SplitConfig.Split(name=name, hash_buckets=1) for name in executor.SPLITS]
                )
            ),
            custom_config=custom_config,
            range_config=range_config_pb2.RangeConfig(
                static_range=range_config_pb2.StaticRange(start_span_number=span, end_span_number=span)
            ),
        )
