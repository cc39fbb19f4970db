"""TFDV's statistics of Examples that are in memory."""

from __future__ import annotations

from collections.abc import Sequence

from tensorflow_data_validation.statistics import stats_impl
from tensorflow_metadata.proto.v0 import statistics_pb2
from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

# TFDV counts distinct values in memory by a sketch of so many buckets: as long as it is not full the count is exact.
EXACT_UP_TO = 16_384


def describe(examples: Sequence[bytes]) -> statistics_pb2.DatasetFeatureStatisticsList:
    """The statistics of serialized tf.Examples, as TFX's StatisticsGen would make them."""
    return stats_impl.generate_statistics_in_memory(ExamplesToRecordBatchDecoder().DecodeBatch(examples))
