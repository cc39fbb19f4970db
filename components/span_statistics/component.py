"""TFX component: see `SpanStatistics`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorflow as tf
from tfx.components.statistics_gen import executor as statistics_gen
from tfx.components.statistics_gen.component import StatisticsGen
from tfx.dsl.components.base import executor_spec
from tfx.types import artifact, artifact_utils

from components.artifacts import split_files
from components.span_statistics.in_memory import EXACT_UP_TO, describe
from trainer.atomic_write import atomic_write


class Executor(statistics_gen.Executor):
    """StatisticsGen's, which leaves Beam out where TFDV counts exactly in memory."""

    def Do(
        self,
        input_dict: dict[str, list[artifact.Artifact]],
        output_dict: dict[str, list[artifact.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        (examples,), (statistics,) = input_dict["examples"], output_dict["statistics"]
        if not examples.has_custom_property("events") or examples.get_int_custom_property("events") > EXACT_UP_TO:
            super().Do(input_dict, output_dict, exec_properties)
            return
        statistics.split_names, statistics.span = examples.split_names, examples.span
        for split in artifact_utils.decode_split_names(examples.split_names):
            records = tf.data.TFRecordDataset(split_files(examples, split), "GZIP").as_numpy_iterator()
            path = Path(artifact_utils.get_split_uri([statistics], split), statistics_gen.DEFAULT_FILE_NAME)
            with atomic_write(path) as beside:
                beside.write_bytes(describe(list(records)).SerializeToString())


class SpanStatistics(StatisticsGen):
    """TFDV's statistics of each split of a span, by the same generators whatever its size.

    TFX's own component builds a Beam graph of some three hundred transforms, which takes longer than a small span's
    statistics. Its options are not offered: what a span's statistics are of is the same every day.

    Args:
      examples: of `SpanExampleGen`, whose counts are properties of the artifact.
    """

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)
