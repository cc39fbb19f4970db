"""What the graph is given, worked out once from the user's settings."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any

from components.catalogue_gen.settings import Settings as CatalogueSettings
from components.encoder_tuner.settings import Settings as TunerSettings
from components.incremental_trainer.settings import PlacesForNew, SharedTraining
from components.incremental_trainer.settings import Settings as TrainerSettings
from components.item_encoder.settings import Settings as EncoderSettings
from components.span_example_gen.ids import WHOLE
from components.span_guard.limits import Rules
from components.span_transform.settings import Settings as TransformSettings
from components.teacher_trainer.settings import Settings as TeacherSettings
from components.update_decider.policy import UpdatePolicy
from pipeline.config import Config, ConfigError
from pipeline.config.backtest import Backtest
from pipeline.config.encoders import Encoder
from pipeline.metrics import RANKED
from pipeline.parameters.look_back import Window, most_spans, windows
from pipeline.parameters.update_policy import update_policy
from serving.bundle.retrieval_index import IndexSettingsError, check_fits
from trainer.distribution import says_shares
from trainer.features.declaration import Feature
from trainer.models import ModelError, find_model
from trainer.settings import ModelSpec, Policy
from trainer.stability.base import PolicyError
from trainer.teaching.refresh import check_teaches, teacher_policy, teacher_spec

# Beam's plain DirectRunner first tries Prism, a binary that it downloads. The second argument keeps TFX from building
# a source distribution of itself for workers that are this very process.
LOCAL_BEAM = (
    "--runner=apache_beam.runners.portability.fn_api_runner.fn_runner.FnApiRunner",
    "--requirements_file=/dev/null",
)


@dataclasses.dataclass(frozen=True)
class GraphParameters:
    """What each component is given.

    Attributes:
      data: for `SpanExampleGen`, the section `data` as plain values, under `forgotten` where it is written who must not
        come back, also where nobody is yet, since it is read when a span is, and may have been written since; and under
        `digests` where those of files are kept.
      catalogue: for `CatalogueGen`; None where there is none.
      encoders: for the `ItemEncoder` of each item feature that is a text, by the feature's name.
      tuners: for the `EncoderTuner` of each of them whose encoder is tuned, likewise.
      guard, transform, trainer, policy: for `SpanGuard`, `SpanTransform`, `IncrementalTrainer` and `UpdateDecider`.
      teacher: for `TeacherTrainer`; None where nobody teaches.
      windows: what of earlier spans the policy looks at, by the names of `Champion`'s channels.
      most_spans: how many earlier spans a candidate may need: all that may be owed, one more to see that it is too
        many.
      metrics: what the model's `evaluate` signature returns, for the gate.
      weighted: whether metrics are means by the events' weights, as the model's loss is.
      beam: the user's Beam arguments untouched, or those for this process.
    """

    data: Mapping[str, Any]
    catalogue: CatalogueSettings | None
    encoders: Mapping[str, EncoderSettings]
    tuners: Mapping[str, TunerSettings]
    guard: Rules
    transform: TransformSettings
    trainer: TrainerSettings
    teacher: TeacherSettings | None
    policy: UpdatePolicy
    windows: Mapping[str, Window]
    most_spans: int
    metrics: tuple[str, ...]
    weighted: bool
    beam: tuple[str, ...]

    @classmethod
    def of(cls, config: Config) -> GraphParameters:
        """Works them out.

        Raises:
          ConfigError: settings that do not fit each other: the index, the policy's metric, or the events' weights, and
            the model.
          ModelError: there is no such model.
        """
        model, update = find_model(config.model.type), config.update
        try:
            # Of the class itself it would be that of Keras's `__new__`, where `__init__` is inherited.
            inspect.signature(model.__init__).bind(None, None, None, **config.model.params)
        except TypeError as error:
            raise ConfigError(
                f"`model.params` must be keyword arguments of `{config.model.type}`. Received: {config.model.params} "
                f"({error})."
            ) from None
        metrics = model.metric_names(config.model.params)
        policy, weight = update_policy(config, metrics), config.data.columns.weight
        role = model.weight_role(config.model.params)
        if weight is not None and role == "unused":
            raise ConfigError(
                f"`data.columns.weight` must be of use to the model. Received: {weight!r} for `{config.model.type}`, "
                "which makes no use of weights. Leave it out, or let the model's `weight_role` say what it does with "
                "them (docs/own-model.md)."
            )
        for feature in config.features.item:
            if feature.kind not in model.item_feature_kinds:
                kinds = ", ".join(sorted(model.item_feature_kinds)) or "no feature of items"
                raise ConfigError(
                    f"`features.item` must be of use to the model. Received: {feature.name!r} of kind {feature.kind} "
                    f"for `{config.model.type}`, which learns from {kinds}. Take it out, or take another model."
                )
        for section, features in (("key", config.features.key), ("context", config.features.context)):
            for feature in features:
                if feature.kind not in model.query_feature_kinds:
                    kinds = ", ".join(sorted(model.query_feature_kinds)) or "no feature of keys and context"
                    raise ConfigError(
                        f"`features.{section}` must be of use to the model. Received: {feature.name!r} of kind "
                        f"{feature.kind} for `{config.model.type}`, which learns from {kinds}. Take it out, or take "
                        "another model."
                    )
        if update.augmentation is not None and model.form != "sequences":
            raise ConfigError(
                "`update.augmentation` has an effect with models over sequences only. Received: "
                f"{update.augmentation} for `{config.model.type}`, which learns single positions. Take it out, or take "
                "another model."
            )
        if config.training.strategy != "none" and not says_shares(model):
            raise ConfigError(
                f"`training.strategy` must be none for a model that does not say that its loss can be shared out. "
                f"Received: {config.training.strategy} for `{config.model.type}`. Set none, or let the class say "
                "`shares_steps` (docs/workers.md)."
            )
        if config.backtest != Backtest() and config.backtest.baselines and frozenset(metrics) != RANKED:
            raise ConfigError(
                "`backtest.baselines` are measured by recall, ndcg and mrr. Received: "
                f"{', '.join(config.backtest.baselines)} for `{config.model.type}`, which is measured by "
                f"{', '.join(metrics)}. Take the section out."
            )
        try:
            check_fits(config.serving.index, model.vectors, config.model.type)
        except IndexSettingsError as error:
            raise ConfigError(str(error)) from None
        _check_teacher(config)
        trainer, weighted = _trainer(config), weight is not None and role == "loss"
        return cls(
            data={
                **config.data.model_dump(mode="json"),
                "forgotten": str(config.suppression_list_path),
                "digests": str(config.digests_path),
                "query_features": [dataclasses.asdict(feature) for feature in config.features.of_query],
            },
            catalogue=_catalogue(config),
            encoders=_encoders(config),
            tuners=_tuners(config),
            guard=Rules(**config.guard.model_dump()),
            transform=_transform(config),
            trainer=trainer,
            teacher=_teacher(config, trainer, weighted),
            policy=policy,
            windows=windows(config.policy),
            most_spans=most_spans(config),
            metrics=metrics,
            weighted=weighted,
            beam=config.beam.args or LOCAL_BEAM,
        )


def _catalogue(config: Config) -> CatalogueSettings | None:
    given = config.catalogue
    if given is None:
        return None
    return CatalogueSettings(
        path=str(given.path),
        pattern=given.pattern,
        format=given.format,
        delivery=given.delivery,
        item=given.item or config.data.columns.item,
        withdrawn=given.withdrawn,
        valid_from=given.valid_from,
        decimal_ids=config.data.decimal_ids or WHOLE,
        max_reject_fraction=given.max_reject_fraction,
        max_withdrawn_fraction=given.max_withdrawn_fraction,
        max_changed_fraction=given.max_changed_fraction,
        features=config.features.item,
        digests=str(config.digests_path),
    )


def _encoders(config: Config) -> dict[str, EncoderSettings]:
    """Of the columns that the catalogue has by the features' names."""
    return {
        name: EncoderSettings(
            name=name,
            folder=str(encoder.path),
            text=name,
            max_tokens=encoder.max_tokens,
            batch=encoder.batch,
            prefix=encoder.prefix,
            keep_unused=encoder.keep_unused,
        )
        for name, encoder in _encoder_of_each(config).items()
    }


def _encoder_of_each(config: Config) -> dict[str, Encoder]:
    """The encoder of each item feature that is a text, by the feature's name."""
    texts = [feature for feature in config.features.item if feature.kind == "text"]
    return {feature.name: config.encoders[config.encoder_of(feature)] for feature in texts}


def _tuners(config: Config) -> dict[str, TunerSettings]:
    return {
        name: TunerSettings(
            folder=str(encoder.path),
            text=name,
            max_tokens=encoder.max_tokens,
            prefix=encoder.prefix,
            tuning=encoder.tuning,
            seed=config.update.seed,
        )
        for name, encoder in _encoder_of_each(config).items()
        if encoder.tuning is not None
    }


def _learned_features(config: Config) -> tuple[Feature, ...] | None:
    """Those of a catalogue, perhaps none; None without one, and for a model that takes none."""
    takes = find_model(config.model.type).item_feature_kinds
    return config.features.item if config.catalogue is not None and takes else None


def _transform(config: Config) -> TransformSettings:
    return TransformSettings(
        length=config.history.length,
        oov_rows=config.vocabulary.oov_rows,
        item_min_count=config.vocabulary.item_min_count,
        key_min_count=config.vocabulary.key_min_count,
        half_life_spans=config.vocabulary.half_life_spans,
        cold_below=config.gate.cold_below,
        verdict_share=config.gate.verdict_share,
        features=config.features.item or None,
        query_features=config.features.of_query or None,
        keys_end_after=config.history.keys_end_after,
        item_max_age=config.vocabulary.item_max_age,
        key_max_age=config.vocabulary.key_max_age,
        max_items=config.vocabulary.max_items,
        max_keys=config.vocabulary.max_keys,
    )


def _check_teacher(config: Config) -> None:
    teacher = config.update.teacher
    if teacher is None:
        return
    try:
        inspect.signature(find_model(teacher.type).__init__).bind(None, None, None, **teacher.params)
        check_teaches(teacher, config.model.type, config.model.params)
    except TypeError as error:
        raise ConfigError(
            f"`update.teacher.params` must be keyword arguments of `{teacher.type}`. Received: {teacher.params} "
            f"({error})."
        ) from None
    except (ModelError, PolicyError) as error:
        raise ConfigError(str(error).replace("`model.type`", "`update.teacher.type`")) from None


def _teacher(config: Config, trainer: TrainerSettings, weighted: bool) -> TeacherSettings | None:
    teacher = config.update.teacher
    if teacher is None or trainer.teacher is None:
        return None
    policy = teacher_policy(trainer.policy)
    own = dataclasses.replace(trainer, model=trainer.teacher, policy=policy, teacher=None, training=None)
    return TeacherSettings(own, teacher.every, most_spans(config), config.update.retrain_spans, weighted)


def _trainer(config: Config) -> TrainerSettings:
    places, teacher, asking = config.push.places_for_new, config.update.teacher, config.features.of_query
    of_items = None if config.catalogue is None else config.features.item
    return TrainerSettings(
        model=ModelSpec(
            config.model.type,
            config.model.params,
            config.history.length,
            _learned_features(config),
            config.features.of_query or None,
        ),
        policy=Policy(**{field.name: getattr(config.update, field.name) for field in dataclasses.fields(Policy)}),
        k=config.gate.k,
        max_k=config.push.max_k,
        exclude_seen=config.push.exclude_seen,
        items_file=None if config.data.items is None else str(config.data.items),
        item_column=config.data.columns.item,
        title_column=config.data.item_title,
        columns=config.serving.columns,
        available_column=config.serving.available,
        index=config.serving.index,
        log_folder=str(config.logs_path / "training"),
        key_features=len(config.features.key) if config.features.of_query else None,
        decimal_ids=(config.data.decimal_ids or WHOLE) if config.features.of_query else None,
        hide_unlisted=None if config.catalogue is None else config.catalogue.unlisted == "hide",
        half_life_spans=None if config.catalogue is None else config.vocabulary.half_life_spans,
        places_for_new=None if places is None else PlacesForNew(**places.model_dump()),
        teacher=None if teacher is None else teacher_spec(teacher, config.history.length, of_items, asking),
        training=_training(config),
    )


def _training(config: Config) -> SharedTraining | None:
    strategy = config.training.strategy
    if strategy == "none" or strategy == "parameter_server":  # the latter is refused by the settings
        return None
    return SharedTraining(strategy, config.training.restarts, str(config.workers_path))
