"""TFDV's statistics of a span, as the pipeline's StatisticsGen would have them; made when a policy first asks."""

from __future__ import annotations

import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import statistics_pb2

from components.span_example_gen.encoding import encode_examples
from components.span_statistics.in_memory import describe
from pipeline.backtest.ingest import Events, ingest_all
from pipeline.backtest.prepared_spans import PreparedSpan
from pipeline.config import Config
from trainer.atomic_write import atomic_write

_FILE = "statistics.pb"


def statistics_of(config: Config, span: PreparedSpan) -> statistics_pb2.DatasetFeatureStatisticsList:
    """Of the span's train part, context columns included; kept in the span's folder, and gone with it.

    Raises:
      SpanError: the pipeline would refuse the span.
    """
    path = span.folder / _FILE
    if not path.exists():
        made = statistics_in_memory(ingest_all(config, span.number, span.folder.parent.parent / "refused"))
        with atomic_write(path) as beside:
            beside.write_bytes(made.SerializeToString())
    return tfdv.load_stats_binary(str(path))


def statistics_in_memory(events: Events) -> statistics_pb2.DatasetFeatureStatisticsList:
    """By way of the Examples that the pipeline would write, whose types are those that it sees."""
    batches = events.train.combine_chunks().to_batches()
    return describe([example for batch in batches for example in encode_examples(batch, events.kinds)])
