"""TFX component: see `Gate`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow_model_analysis as tfma
from tfx.components.evaluator import constants
from tfx.components.evaluator.component import Evaluator
from tfx.dsl.components.base import base_beam_component, base_beam_executor, executor_spec
from tfx.types import (
    artifact,
    artifact_utils,
    channel,
    channel_utils,
    component_spec,
    standard_artifacts,
    standard_component_specs,
)
from tfx.utils import json_utils, path_utils

from components.artifacts import PairedDifferences
from components.gate.evaluation import evaluate
from components.paired_comparison.comparison import Comparison
from components.paired_comparison.judgement import OVERALL
from components.span_pusher.verdict import read_counts, slice_name_of


class Executor(base_beam_executor.BaseBeamExecutor):
    """Evaluates as TFX's Evaluator does; blesses what only slices with few events keep from it, and not what is worse.

    A day's fixed cost is for the most part Beam's, a step of the pipeline at a time, so it is built of what is read.
    """

    def Do(
        self,
        input_dict: dict[str, list[artifact.Artifact]],
        output_dict: dict[str, list[artifact.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        self._log_startup(input_dict, output_dict, exec_properties)
        (evaluation,), (blessing,) = output_dict["evaluation"], output_dict["blessing"]
        (candidate,), (baseline,) = input_dict["model"], input_dict.get("baseline_model") or [None]
        with self._make_beam_pipeline() as pipeline:
            evaluate(
                pipeline,
                examples=input_dict["examples"][0],
                splits=splits_of(input_dict["examples"][0], exec_properties["example_splits"]),
                candidate=path_utils.serving_model_path(candidate.uri),
                baseline=baseline and path_utils.serving_model_path(baseline.uri),
                eval_config=exec_properties["eval_config"],
                output=evaluation.uri,
            )
        comparisons = [Comparison.read(comparison.uri) for comparison in input_dict.get("comparison") or []]
        fewest = comparisons[0].rules.min_slice_events if comparisons else 0
        validation = tfma.load_validation_result(evaluation.uri)
        blessed = bool(validation.validation_ok) or refused_for_small_slices_alone(
            validation, read_counts(evaluation.uri), fewest
        )
        _note(blessing, candidate, baseline)
        _bless(blessing, blessed and not any(comparison.judgement.refused for comparison in comparisons))


def splits_of(examples: artifact.Artifact, asked: str) -> list[str]:
    """Those asked for, as JSON, or TFX's `eval`; all of a span that was transformed before there were such."""
    names = artifact_utils.decode_split_names(examples.split_names)
    chosen = json_utils.loads(asked) or ["eval"]
    return chosen if set(chosen) <= set(names) else names


def _note(blessing: artifact.Artifact, candidate: artifact.Artifact, baseline: artifact.Artifact | None) -> None:
    """Says what was compared, as TFX's Evaluator does."""
    blessing.set_string_custom_property(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_URI_KEY, candidate.uri)
    blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY, candidate.id)
    if baseline is not None:
        blessing.set_string_custom_property(constants.ARTIFACT_PROPERTY_BASELINE_MODEL_URI_KEY, baseline.uri)
        blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_BASELINE_MODEL_ID_KEY, baseline.id)


def _bless(blessing: artifact.Artifact, blessed: bool) -> None:
    files = {True: constants.BLESSED_FILE_NAME, False: constants.NOT_BLESSED_FILE_NAME}
    Path(blessing.uri, files[blessed]).touch()
    value = constants.BLESSED_VALUE if blessed else constants.NOT_BLESSED_VALUE
    blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_BLESSED_KEY, value)


def refused_for_small_slices_alone(validation: Any, events: Mapping[str, int], fewest: int) -> bool:
    """Whether every threshold that decides was met.

    An empty specification is the whole of the held-out part: that one decides, and must not be empty.

    Args:
      validation: TFMA's.
      events: slice to how many there were.
      fewest: how many a slice must have to decide.
    """
    failed = [slice_name_of(of_slice) for of_slice in validation.metric_validations_per_slice if of_slice.failures]
    empty = [
        bool(missing_slice.feature_keys or missing_slice.feature_values) for missing_slice in validation.missing_slices
    ]
    forgiven = [
        *empty,
        *(where in events and where != OVERALL and events[where] < fewest for where in failed),
    ]
    return not (validation.validation_ok or validation.missing_thresholds) and bool(forgiven) and all(forgiven)


class _Spec(standard_component_specs.EvaluatorSpec):
    INPUTS = {
        **standard_component_specs.EvaluatorSpec.INPUTS,
        "comparison": component_spec.ChannelParameter(type=PairedDifferences, optional=True),
    }


class Gate(Evaluator):
    """Looks at the candidate's floors, overall and by slice, and blesses it if the comparison does so too.

    TFX's Evaluator refuses a model when a slice that has a threshold is empty, or for a single event in it. On a day
    without, say, any new item, there is nothing that the candidate could be bad at; and few events say little.
    """

    SPEC_CLASS = _Spec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(
        self,
        examples: channel.BaseChannel,
        model: channel.BaseChannel,
        eval_config: Any,
        baseline_model: channel.BaseChannel | None = None,
        comparison: channel.BaseChannel | None = None,
        example_splits: list[str] | None = None,
    ) -> None:
        spec = _Spec(
            examples=examples,
            model=model,
            baseline_model=baseline_model,
            comparison=comparison,
            eval_config=eval_config,
            example_splits=json_utils.dumps(example_splits),
            fairness_indicator_thresholds=json_utils.dumps(None),
            evaluation=channel_utils.as_channel([standard_artifacts.ModelEvaluation()]),
            blessing=channel_utils.as_channel([standard_artifacts.ModelBlessing()]),
        )
        # Not Evaluator's own, which knows of no comparison.
        base_beam_component.BaseBeamComponent.__init__(self, spec=spec)
