"""From the user's settings to what each component is told."""

from __future__ import annotations

import dataclasses
from typing import Any

from components.incremental_trainer.settings import Settings as TrainerSettings
from components.span_transform.settings import Settings as TransformSettings
from pipeline.config import Config, ConfigError
from serving.bundle.retrieval_index import IndexSettingsError, check_fits
from trainer.models import find_model
from trainer.settings import ModelSpec, Policy

# Beam's plain DirectRunner first tries Prism, a binary that it downloads. The second argument keeps TFX from building
# a source distribution of itself for workers that are this very process.
LOCAL_BEAM = (
    "--runner=apache_beam.runners.portability.fn_api_runner.fn_runner.FnApiRunner",
    "--requirements_file=/dev/null",
)


def data(config: Config) -> dict[str, Any]:
    """The `data` section as plain values, and where it is written who must not come back.

    Also where nobody is yet: it is read when a span is, and may have been written since.
    """
    return {**config.data.model_dump(mode="json"), "forgotten": str(config.suppression_list_path)}


def transform_settings(config: Config) -> TransformSettings:
    """What `SpanTransform` is told."""
    return TransformSettings(
        length=config.history.length,
        oov_rows=config.vocabulary.oov_rows,
        item_min_count=config.vocabulary.item_min_count,
        key_min_count=config.vocabulary.key_min_count,
        half_life_spans=config.vocabulary.half_life_spans,
        cold_below=config.gate.cold_below,
    )


def model_spec(config: Config) -> ModelSpec:
    """Which model is trained."""
    return ModelSpec(config.model.type, config.model.params, config.history.length)


def policy(config: Config) -> Policy:
    """How it is trained."""
    return Policy(**{field.name: getattr(config.update, field.name) for field in dataclasses.fields(Policy)})


def trainer_settings(config: Config) -> TrainerSettings:
    """What `IncrementalTrainer` is told.

    Raises:
      ConfigError: the model has no room for the index.
    """
    index = config.serving.index
    try:
        check_fits(index, find_model(config.model.type).vectors, config.model.type)
    except IndexSettingsError as error:
        raise ConfigError(str(error)) from None
    return TrainerSettings(
        model=model_spec(config),
        policy=policy(config),
        k=config.gate.k,
        max_k=config.push.max_k,
        exclude_seen=config.push.exclude_seen,
        items_file=None if config.data.items is None else str(config.data.items),
        item_column=config.data.columns.item,
        title_column=config.data.item_title,
        columns=config.serving.columns,
        available_column=config.serving.available,
        index=index,
        log_folder=str(config.logs_path / "training"),
    )


def metric_names(config: Config) -> tuple[str, ...]:
    """What the configured model's `evaluate` signature returns."""
    return find_model(config.model.type).metric_names(config.model.params)


def most_spans(config: Config) -> int:
    """How many earlier spans a candidate may need: all that may be owed, one more to see that it is too many."""
    return max(config.update.max_owed_spans + 1, config.update.retrain_spans - 1)


def beam_args(config: Config) -> list[str]:
    """The user's Beam arguments untouched, or those for this process."""
    return list(config.beam.args or LOCAL_BEAM)
