"""TFX component: see `Gate`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorflow_model_analysis as tfma
from tfx.components.evaluator import constants
from tfx.components.evaluator import executor as evaluator_executor
from tfx.components.evaluator.component import Evaluator
from tfx.dsl.components.base import executor_spec
from tfx.types import artifact


class Executor(evaluator_executor.Executor):
    """Evaluator's, which then blesses a model that only slices without any event have kept from it."""

    def Do(
        self,
        input_dict: dict[str, list[artifact.Artifact]],
        output_dict: dict[str, list[artifact.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        super().Do(input_dict, output_dict, exec_properties)
        (evaluation,), (blessing,) = output_dict["evaluation"], output_dict["blessing"]
        if refused_for_empty_slices_alone(tfma.load_validation_result(evaluation.uri)):
            Path(blessing.uri, constants.NOT_BLESSED_FILE_NAME).unlink(missing_ok=True)
            Path(blessing.uri, constants.BLESSED_FILE_NAME).touch()
            blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_BLESSED_KEY, constants.BLESSED_VALUE)


def refused_for_empty_slices_alone(validation: Any) -> bool:
    """Whether every threshold that could be looked at was met.

    An empty specification is the whole of the held-out part: that one must not be empty.
    """
    failed = any(of_slice.failures for of_slice in validation.metric_validations_per_slice)
    named = [
        bool(missing_slice.feature_keys or missing_slice.feature_values) for missing_slice in validation.missing_slices
    ]
    return not (validation.validation_ok or validation.missing_thresholds or failed) and bool(named) and all(named)


class Gate(Evaluator):
    """Compares the candidate with the champion on the held-out events, and blesses it or not.

    TFX's Evaluator refuses a model when a slice that has a threshold is empty. On a day without, say, any new item,
    there is nothing that the candidate could be bad at.
    """

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)
