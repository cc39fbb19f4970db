"""TFMA's evaluation of a candidate, and of the champion as its baseline, with those of its outputs that are read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.utils import config_util
from tensorflow_model_analysis.writers import eval_config_writer, metrics_plots_and_validations_writer
from tfx.components.util import tfxio_utils
from tfx.types import artifact, artifact_utils
from tfx.utils import io_utils, proto_utils


def evaluate(
    pipeline: beam.Pipeline,
    examples: artifact.Artifact,
    splits: Sequence[str],
    candidate: str,
    baseline: str | None,
    eval_config: str,
    output: str,
) -> None:
    """Adds to the pipeline what writes `eval_config.json`, `metrics` and `validations`, as TFMA reads them.

    TFMA writes plots and attributions too, which no metric here has: two files that are always empty, and a sixth of
    the steps.

    Args:
      pipeline: Beam's.
      examples: the held-out part.
      splits: those of it that are evaluated.
      candidate: the folder of its SavedModel.
      baseline: the champion's; None for none.
      eval_config: TFMA's EvalConfig as JSON.
      output: the folder to be written.
    """
    config = tfma.EvalConfig()
    proto_utils.json_to_proto(eval_config, config)
    # Without a baseline there is nothing to fall below: thresholds of change are left out.
    config = config_util.update_eval_config_with_defaults(config, has_baseline=baseline is not None, rubber_stamp=True)
    config_util.verify_eval_config(config)
    shared = [
        tfma.default_eval_shared_model(
            baseline if spec.is_baseline else candidate, model_name=spec.name, eval_config=config
        )
        for spec in config.model_specs
    ]
    make_reader = tfxio_utils.get_tfxio_factory_from_artifact(
        examples=[examples],
        telemetry_descriptors=["Evaluator"],
        raw_record_column_name=tfma.constants.ARROW_INPUT_COLUMN,
    )
    read = [
        pipeline | f"Read {split}" >> make_reader(io_utils.all_files_pattern(folder)).BeamSource()
        for split in splits
        for folder in artifact_utils.get_split_uris([examples], split)
    ]
    analyse: Any = tfma.ExtractEvaluateAndWriteResults(
        eval_shared_model=shared if len(shared) > 1 else shared[0],
        eval_config=config,
        writers=_writers(config, shared, output),
        output_path=output,
    )
    _ = read | "Flatten" >> beam.Flatten() | "Evaluate" >> analyse


def _writers(config: tfma.EvalConfig, models: Sequence[Any], output: str) -> list[Any]:
    paths = {key: str(Path(output, key)) for key in (tfma.constants.METRICS_KEY, tfma.constants.VALIDATIONS_KEY)}
    return [
        eval_config_writer.EvalConfigWriter(
            output, eval_config=config, model_locations={model.model_name: model.model_path for model in models}
        ),
        metrics_plots_and_validations_writer.MetricsPlotsAndValidationsWriter(
            output_paths=paths, eval_config=config, output_file_format="tfrecord"
        ),
    ]
