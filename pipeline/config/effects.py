"""Which settings have an effect only beside others: what would do nothing is refused by its name.

A setting that stands at its default, or at that of an earlier version, is never refused: `warmspan init` writes out
every one. What has an effect with some models only is known once there is a model:
`pipeline.parameters.graph_parameters` refuses it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from pipeline.config.backtest import BaselineName
from pipeline.config.config import Config
from pipeline.config.section import settings_in


@dataclasses.dataclass(frozen=True)
class Effect:
    """A setting by its dotted name, when it has an effect, and the same in words: "… has an effect `when` only".

    `earlier`: the defaults of earlier versions, whose `warmspan init` has written them out.
    """

    setting: str
    when: str
    holds: Callable[[Config], bool]
    earlier: tuple[Any, ...] = ()

    def value(self, config: Config) -> Any:
        value: Any = config
        for name in self.setting.split("."):
            value = getattr(value, name)
        return value

    @property
    def default(self) -> Any:
        section: Any = Config
        *sections, name = self.setting.split(".")
        for outer in sections:
            section = settings_in(section)[outer].annotation
        return settings_in(section)[name].get_default(call_default_factory=True)


@dataclasses.dataclass(frozen=True)
class Ineffective:
    """A setting that was changed and does nothing."""

    effect: Effect
    value: Any

    def __str__(self) -> str:
        return (
            f"`{self.effect.setting}` has an effect {self.effect.when} only. Received: {self.value!r} otherwise. Take "
            "it out, or make it so."
        )


def ineffective(config: Config) -> list[Ineffective]:
    """The settings of `config` that are not at their default and have no effect."""
    idle = ((effect, effect.value(config)) for effect in EFFECTS if not effect.holds(config))
    return [Ineffective(effect, value) for effect, value in idle if value not in (effect.default, *effect.earlier)]


def _all_encode(config: Config) -> bool:
    texts = [feature for feature in config.features.item if feature.kind == "text"]
    return set(config.encoders) <= {config.encoder_of(feature) for feature in texts}


def _watches(config: Config) -> bool:
    return config.split.eval_fraction > 0


def _has_limit(*limits: Any) -> bool:
    return any(limit.fine_tune is not None or limit.retrain is not None for limit in limits)


def _can_retrain(config: Config) -> bool:
    policy = config.policy
    drift = policy.drift.columns.values()
    limits: tuple[Any, ...] = (policy.next_span, policy.retention, policy.new_items, policy.new_keys, *drift)
    return policy.max_age is not None or any(limit.retrain is not None for limit in limits)


def _drifts(config: Config) -> bool:
    return _has_limit(*config.policy.drift.columns.values())


def _alerts(config: Config) -> bool:
    return config.alerts.command is not None or config.alerts.webhook is not None


def _each(thresholds: Any) -> bool:
    return all(threshold.floor is not None or threshold.max_drop is not None for threshold in thresholds)


def _drops(config: Config) -> bool:
    return any(threshold.max_drop is not None for threshold in config.gate.thresholds.values())


def _slices_drop(config: Config) -> bool:
    of_slices = config.gate.slice_thresholds.values()
    return any(threshold.max_drop is not None for of_slice in of_slices for threshold in of_slice.values())


def _remembers(config: Config) -> bool:
    return config.update.stability.replay.budget > 0


def _distils(config: Config) -> bool:
    return config.update.stability.distillation.weight > 0


def _backs_off(config: Config) -> bool:
    return config.update.after_refusal.max_refusals > 0


def _has_factor(config: Config) -> bool:
    changed = config.update.changed_after_refusal
    return (changed.rate, changed.replay, changed.epochs) != (1, 1, 1)


def _keys_stay(config: Config) -> bool:
    return config.history.keys_end_after is None


def _shows(config: Config, baseline: BaselineName) -> bool:
    return baseline in config.backtest.baselines


_REPLAY, _DISTILLATION, _SCHEDULE = (
    "update.stability.replay",
    "update.stability.distillation",
    "update.schedule",
)
_BUDGET, _WEIGHT = f"with a `{_REPLAY}.budget` above 0", f"with a `{_DISTILLATION}.weight` above 0"
_BACKOFF = "with an `update.after_refusal.max_refusals` above 0"
_COSINE, _PLATEAU = f"with `{_SCHEDULE}.within: cosine`", f"with `{_SCHEDULE}.within: plateau`"
_KEYS_STAY = "without `history.keys_end_after`, beside which no key has a row,"
_V_SKNN = "with v_sknn in `backtest.baselines`"
_DROP = "with a `max_drop` in `gate.thresholds`"
_HELD_OUT, _TOLD = "with a `split.eval_fraction` above 0", "with `alerts.command` or `alerts.webhook`"

EFFECTS = (
    Effect(
        "data.timestamp_unit",
        "without `data.timestamp_format`, for text such as a CSV file's",
        lambda c: c.data.timestamp_format is None or c.data.format != "csv",
    ),
    Effect("data.weight_above", "with `data.columns.weight`", lambda c: c.data.columns.weight is not None),
    Effect(
        "data.items",
        "with `serving.columns` or `serving.available`",
        lambda c: c.serving.columns != () or c.serving.available is not None,
    ),
    Effect(
        "data.item_title",
        "with `data.items`, and where `serving.columns` is null or names it",
        lambda c: c.data.items is not None and (c.serving.columns is None or c.data.item_title in c.serving.columns),
    ),
    Effect("serving.columns", "with `data.items`", lambda c: c.data.items is not None or c.serving.columns == ()),
    Effect("serving.available", "with `data.items`", lambda c: c.data.items is not None),
    Effect(
        "vocabulary.key_min_count",
        _KEYS_STAY,
        _keys_stay,
        earlier=(1_000_000,),
    ),
    Effect("vocabulary.key_max_age", _KEYS_STAY, _keys_stay),
    Effect("vocabulary.max_keys", _KEYS_STAY, _keys_stay),
    Effect("encoders", "with a feature of kind text for each", _all_encode),
    Effect("features.item", "with `catalogue`", lambda c: c.catalogue is not None),
    Effect("push.places_for_new", "with `catalogue`", lambda c: c.catalogue is not None),
    Effect(
        "serving.index.min_recall",
        "with `serving.index.type: approximate`, `serving.index.pruning`, or a `table` not of float32",
        lambda c: not c.serving.index.lossless,
    ),
    Effect(
        "update.learning_rate",
        f"without `{_SCHEDULE}.rates`, of which a span's rate is taken,",
        lambda c: not c.update.schedule.rates,
    ),
    Effect("update.initial_accumulator", "with `update.optimizer: adagrad`", lambda c: c.update.optimizer == "adagrad"),
    Effect("update.patience", _HELD_OUT, _watches),
    Effect("update.watch", _HELD_OUT, _watches),
    Effect(f"{_REPLAY}.fraction", _BUDGET, _remembers),
    Effect(f"{_REPLAY}.weight", _BUDGET, _remembers),
    Effect(f"{_REPLAY}.selection", _BUDGET, _remembers),
    Effect(
        f"{_REPLAY}.half_life",
        f"{_BUDGET} and `selection: recency`",
        lambda c: _remembers(c) and c.update.stability.replay.selection == "recency",
    ),
    Effect(f"{_DISTILLATION}.adaptive", _WEIGHT, _distils),
    Effect(f"{_DISTILLATION}.temperature", _WEIGHT, _distils),
    Effect(f"{_DISTILLATION}.batches", _WEIGHT, _distils),
    Effect(f"{_DISTILLATION}.candidates", _WEIGHT, _distils),
    *(
        Effect(
            f"update.stability.ewc.{name}",
            "with an `update.stability.ewc.strength` above 0",
            lambda c: c.update.stability.ewc.strength > 0,
        )
        for name in ("sample", "decay")
    ),
    Effect(
        "update.stability.shrink.variables",
        "with an `update.stability.shrink.factor` below 1, or with `noise`",
        lambda c: c.update.stability.shrink.factor < 1 or c.update.stability.shrink.noise > 0,
    ),
    Effect(
        f"{_SCHEDULE}.within",
        f"{_HELD_OUT}, and a `{_SCHEDULE}.patience` not above `update.patience`, if it is plateau,",
        lambda c: (
            c.update.schedule.within != "plateau" or (_watches(c) and c.update.schedule.patience <= c.update.patience)
        ),
    ),
    Effect(f"{_SCHEDULE}.warm_up", _COSINE, lambda c: c.update.schedule.within == "cosine"),
    Effect(f"{_SCHEDULE}.final", _COSINE, lambda c: c.update.schedule.within == "cosine"),
    Effect(f"{_SCHEDULE}.keep", f"with `{_SCHEDULE}.slots: decay`", lambda c: c.update.schedule.slots == "decay"),
    Effect(f"{_SCHEDULE}.factor", _PLATEAU, lambda c: c.update.schedule.within == "plateau"),
    Effect(f"{_SCHEDULE}.patience", _PLATEAU, lambda c: c.update.schedule.within == "plateau"),
    Effect(
        f"{_SCHEDULE}.probe_steps",
        f"with `{_SCHEDULE}.rates` and {_HELD_OUT.removeprefix('with ')}",
        lambda c: bool(c.update.schedule.rates) and _watches(c),
    ),
    Effect(f"{_SCHEDULE}.row_boost", "with `update.optimizer: adam`", lambda c: c.update.optimizer == "adam"),
    Effect(
        f"{_SCHEDULE}.row_touches",
        f"with a `{_SCHEDULE}.row_boost` above 1",
        lambda c: c.update.schedule.row_boost > 1,
    ),
    Effect("update.after_refusal.rate", _BACKOFF, _backs_off),
    Effect("update.after_refusal.replay", f"{_BACKOFF}, and {_BUDGET}", lambda c: _backs_off(c) and _remembers(c)),
    Effect(
        "update.after_refusal.epochs",
        f"{_BACKOFF}, and an `update.epochs` above 1",
        lambda c: _backs_off(c) and c.update.epochs > 1,
    ),
    Effect("update.after_refusal.max_refusals", "with a factor beside it that is not 1", _has_factor),
    Effect(
        "training.restarts",
        "with `training.strategy: multi_worker`",
        lambda c: c.training.strategy == "multi_worker",
    ),
    Effect(
        "gate.thresholds",
        "with a `floor` or a `max_drop` for each metric",
        lambda c: _each(c.gate.thresholds.values()),
    ),
    Effect(
        "gate.slice_thresholds",
        "with a `floor` or a `max_drop` for each metric",
        lambda c: all(of_slice and _each(of_slice.values()) for of_slice in c.gate.slice_thresholds.values()),
    ),
    Effect("gate.on_little_evidence", "with a `max_drop`", lambda c: _drops(c) or _slices_drop(c)),
    Effect("gate.min_slice_events", "with `gate.slice_thresholds`", lambda c: bool(c.gate.slice_thresholds)),
    Effect("gate.budget", _DROP, _drops),
    Effect("gate.retention", _DROP, _drops),
    Effect(
        "gate.anchor_spans", f"with a `gate.budget`, and {_DROP}", lambda c: _drops(c) and c.gate.budget is not None
    ),
    Effect("gate.pool_events", f"with a `gate.budget`, and {_DROP}", lambda c: _drops(c) and c.gate.budget is not None),
    Effect("policy.cooldown", "with `policy.max_age` or a `retrain` limit", _can_retrain),
    Effect(
        "policy.next_span.metric",
        "with a limit of `policy.next_span` or `policy.retention`",
        lambda c: _has_limit(c.policy.next_span, c.policy.retention),
    ),
    Effect("policy.next_span.spans", "with a limit beside it", lambda c: _has_limit(c.policy.next_span)),
    Effect("policy.next_span.at_least", "with a limit beside it", lambda c: _has_limit(c.policy.next_span)),
    Effect("policy.drift.spans", "with a limit of a column in `policy.drift.columns`", _drifts),
    Effect("policy.drift.columns", "with a limit, `fine_tune` or `retrain`, of a column", _drifts),
    Effect("policy.new_keys.fine_tune", _KEYS_STAY, _keys_stay),
    Effect("policy.new_keys.retrain", _KEYS_STAY, _keys_stay),
    Effect("policy.retention.spans", "with a limit beside it", lambda c: _has_limit(c.policy.retention)),
    Effect("policy.retention.age", "with a limit beside it", lambda c: _has_limit(c.policy.retention)),
    Effect(
        "backtest.half_life",
        "with a baseline in `backtest.baselines` beside most_popular",
        lambda c: bool(set(c.backtest.baselines) - {"most_popular"}),
    ),
    Effect("backtest.own_items", "with own_items in `backtest.baselines`", lambda c: _shows(c, "own_items")),
    Effect(
        "backtest.pairs_per_item",
        "with cooccurrence or sequential_rules in `backtest.baselines`",
        lambda c: _shows(c, "cooccurrence") or _shows(c, "sequential_rules"),
    ),
    Effect("backtest.sessions", _V_SKNN, lambda c: _shows(c, "v_sknn")),
    Effect("backtest.sample_size", _V_SKNN, lambda c: _shows(c, "v_sknn")),
    Effect("backtest.nearest", _V_SKNN, lambda c: _shows(c, "v_sknn")),
    Effect("alerts.on", _TOLD, _alerts, earlier=(("failure", "refused", "gap", "drift", "unusual"),)),
    Effect("alerts.timeout", _TOLD, _alerts),
)
