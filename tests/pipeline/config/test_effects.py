"""A setting that does nothing beside the others is refused by its name; at its default or with an effect it is not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.config import Config, ConfigError, load_config, with_settings
from pipeline.config.effects import EFFECTS, ineffective
from pipeline.config.section import is_section, settings_in
from pipeline.init.template import render
from pipeline.parameters.graph_parameters import GraphParameters

REQUIRED = {
    "name": "shop",
    "data": {"path": "events", "columns": {"key": "user", "item": "item", "timestamp": "time"}},
}
_LIMIT = {"retrain": 0.5}
# Of each setting a value that is no default, and other settings beside which it has an effect.
CHANGED: dict[str, tuple[Any, dict[str, Any]]] = {
    "data.timestamp_unit": ("ms", {}),
    "data.weight_above": (0.5, {"data.columns.weight": "stars"}),
    "data.items": ("items.csv", {}),
    "data.item_title": ("name", {"data.items": "items.csv"}),
    "serving.columns": (["genre"], {"data.items": "items.csv"}),
    "serving.available": ("sold", {"data.items": "items.csv"}),
    "vocabulary.key_min_count": (3, {}),
    "vocabulary.key_max_age": (90, {}),
    "vocabulary.max_keys": (1000, {}),
    "encoders": (
        {"minilm": {"path": "minilm"}},
        {"catalogue": {"path": "catalogue"}, "features.item": [{"name": "title", "kind": "text"}]},
    ),
    "features.item": ([{"name": "brand", "kind": "category"}], {"catalogue": {"path": "catalogue"}}),
    "push.places_for_new": ({"places": 2, "younger_than": 7}, {"catalogue": {"path": "catalogue"}}),
    "serving.index.min_recall": (0.5, {"serving.index.table": "int8"}),
    "update.learning_rate": (0.3, {}),
    "update.initial_accumulator": (0.3, {"update.optimizer": "adagrad"}),
    "update.patience": (3, {}),
    "update.watch": ("recall", {}),
    "update.stability.replay.fraction": (0.3, {"update.stability.replay.budget": 9}),
    "update.stability.replay.weight": (0.3, {"update.stability.replay.budget": 9}),
    "update.stability.replay.selection": ("frequency", {"update.stability.replay.budget": 9}),
    "update.stability.replay.half_life": (
        3.0,
        {"update.stability.replay.budget": 9, "update.stability.replay.selection": "recency"},
    ),
    "update.stability.distillation.adaptive": (
        True,
        {"update.stability.distillation.weight": 0.5, "update.stability.replay.budget": 9},
    ),
    "update.stability.distillation.temperature": (2.0, {"update.stability.distillation.weight": 0.5}),
    "update.stability.distillation.batches": ("new", {"update.stability.distillation.weight": 0.5}),
    "update.stability.distillation.candidates": (9, {"update.stability.distillation.weight": 0.5}),
    "update.stability.ewc.sample": (9, {"update.stability.ewc.strength": 0.5}),
    "update.stability.ewc.decay": (0.5, {"update.stability.ewc.strength": 0.5}),
    "update.stability.shrink.variables": (["item*"], {"update.stability.shrink.noise": 0.5}),
    "update.schedule.within": ("plateau", {}),
    "update.schedule.warm_up": (0.3, {"update.schedule.within": "cosine"}),
    "update.schedule.final": (0.3, {"update.schedule.within": "cosine"}),
    "update.schedule.keep": (0.3, {"update.schedule.slots": "decay"}),
    "update.schedule.factor": (0.3, {"update.schedule.within": "plateau"}),
    "update.schedule.patience": (2, {"update.schedule.within": "plateau", "update.patience": 2}),
    "update.schedule.probe_steps": (9, {"update.schedule.rates": [0.1, 0.2]}),
    "update.schedule.row_boost": (3.0, {"update.optimizer": "adam"}),
    "update.schedule.row_touches": (9.0, {"update.optimizer": "adam", "update.schedule.row_boost": 3.0}),
    "update.after_refusal.rate": (0.3, {}),
    "update.after_refusal.replay": (3.0, {"update.stability.replay.budget": 9}),
    "update.after_refusal.epochs": (0.3, {}),
    "update.after_refusal.max_refusals": (1, {}),
    "training.restarts": (1, {"training.strategy": "multi_worker"}),
    "gate.thresholds": ({"recall": {"floor": 0.1}, "mrr": {"floor": 0.1}}, {}),
    "gate.slice_thresholds": ({"item_slice:new": {"recall": {"floor": 0.1}}}, {}),
    "gate.on_little_evidence": ("refuse", {}),
    "gate.min_slice_events": (9, {"gate.slice_thresholds": {"item_slice:new": {"recall": {"floor": 0.1}}}}),
    "gate.budget": (3.0, {}),
    "gate.retention": (3.0, {}),
    "gate.anchor_spans": (9, {}),
    "gate.pool_events": (9, {}),
    "policy.cooldown": (3, {"policy.max_age": 9}),
    "policy.next_span.metric": ("mrr", {"policy.retention.fine_tune": 0.1}),
    "policy.next_span.spans": (9, {"policy.next_span.retrain": 3}),
    "policy.next_span.at_least": (3, {"policy.next_span.fine_tune": 3}),
    "policy.drift.spans": (3, {"policy.drift.columns": {"item": _LIMIT}}),
    "policy.drift.columns": ({"item": _LIMIT}, {}),
    "policy.new_keys.fine_tune": (0.5, {}),
    "policy.new_keys.retrain": (0.5, {}),
    "policy.retention.spans": (2, {"policy.retention.retrain": 0.1}),
    "policy.retention.age": (2, {"policy.retention.retrain": 0.1}),
    "backtest.half_life": (3.0, {}),
    "backtest.own_items": ("frequent", {"backtest.baselines": ["own_items"], "push.exclude_seen": False}),
    "backtest.pairs_per_item": (9, {"backtest.baselines": ["cooccurrence"]}),
    "backtest.sessions": (9, {"backtest.baselines": ["v_sknn"]}),
    "backtest.sample_size": (9, {"backtest.baselines": ["v_sknn"]}),
    "backtest.nearest": (9, {"backtest.baselines": ["v_sknn"]}),
    "alerts.on": (["failure"], {"alerts.command": "notify"}),
    "alerts.timeout": (3.0, {"alerts.webhook": "https://example.com/hook"}),
}
# Settings beside which a changed one has none, where the defaults are not such.
WITHOUT: dict[str, dict[str, Any]] = {
    "vocabulary.key_min_count": {"history.keys_end_after": 24},
    "vocabulary.key_max_age": {"history.keys_end_after": 24},
    "vocabulary.max_keys": {"history.keys_end_after": 24},
    "policy.new_keys.fine_tune": {"history.keys_end_after": 24},
    "policy.new_keys.retrain": {"history.keys_end_after": 24},
    "data.timestamp_unit": {"data.timestamp_format": "%Y-%m-%d"},
    "data.items": {"serving.columns": []},
    "update.learning_rate": {"update.schedule.rates": [0.1, 0.2]},
    "update.initial_accumulator": {"update.optimizer": "adam"},
    "update.patience": {"split.eval_fraction": 0},
    "update.watch": {"split.eval_fraction": 0},
    "update.schedule.within": {"split.eval_fraction": 0},
    "update.after_refusal.rate": {"update.after_refusal.max_refusals": 0},
    "update.after_refusal.epochs": {"update.epochs": 1},
    "update.after_refusal.max_refusals": {"update.after_refusal.rate": 1.0},
    "gate.thresholds": {"gate.thresholds": {"recall": {"floor": 0.1}, "mrr": {}}},
    "gate.slice_thresholds": {"gate.slice_thresholds": {"item_slice:new": {}}},
    "gate.on_little_evidence": {"gate.thresholds": {"recall": {"floor": 0.1}}},
    "gate.budget": {"gate.thresholds": {"recall": {"floor": 0.1}}},
    "gate.retention": {"gate.thresholds": {"recall": {"floor": 0.1}}},
    "gate.anchor_spans": {"gate.budget": None},
    "gate.pool_events": {"gate.thresholds": {"recall": {"floor": 0.1}}},
    "policy.drift.columns": {"policy.drift.columns": {"item": {"measure": "infinity_norm"}}},
    "backtest.half_life": {"backtest.baselines": ["most_popular"]},
}
ALWAYS = """
name root metadata cache catalogue data.path data.pattern data.format data.columns.key data.columns.item
data.columns.timestamp
data.columns.context data.timestamp_format data.span_hours data.late data.decimal_ids data.reject
data.max_reject_fraction split.eval_fraction
vocabulary.item_min_count vocabulary.item_max_age vocabulary.max_items vocabulary.oov_rows vocabulary.half_life_spans
history.length
history.keys_end_after
model.type update.epochs update.cold_epochs update.batch_size update.optimizer update.clip_norm update.weight_decay
update.new_rows update.seed update.precision update.jit_compile update.max_owed_spans update.retrain_spans
update.stability.replay.budget training.strategy
update.stability.distillation.weight update.stability.proximal.strength update.stability.ewc.strength
update.stability.partial.freeze update.stability.partial.rates update.stability.shrink.factor
update.stability.shrink.noise update.stability.averaging.share update.schedule.slots update.schedule.rates guard.hold
guard.at_least guard.spans guard.sensitivity guard.ignore gate.k
gate.min_events gate.verdict_share gate.cold_below gate.confidence gate.confidence_intervals push.keep_versions
push.path push.max_k push.exclude_seen
serving.index.type serving.index.table serving.index.pruning serving.latency_budget_ms policy.rest_spans policy.max_age
policy.next_span.fine_tune policy.next_span.retrain policy.retention.fine_tune policy.retention.retrain
policy.new_items.fine_tune policy.new_items.retrain
policy.schedule.every alerts.command alerts.webhook backtest.baselines gc.keep_spans
stream.every_seconds stream.batch_events stream.epochs stream.rate stream.verdict_share stream.verdict_events
stream.settle_seconds gc.trash_days beam.args
"""
# By their sections, which can't be without each other, and by what the model makes of them.
REFUSED_ELSEWHERE = """
serving.index.lists serving.index.probes policy.schedule.weekday policy.schedule.start data.columns.weight
model.params features.key features.context update.augmentation update.teacher
"""


def nested(settings: dict[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for setting, value in settings.items():
        *sections, name = setting.split(".")
        inner = result
        for section in sections:
            inner = inner.setdefault(section, {})
        inner[name] = value
    return result


def merged(settings: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    both = {**settings, **more}
    for name in settings.keys() & more.keys():
        if isinstance(settings[name], dict) and isinstance(more[name], dict):
            both[name] = merged(settings[name], more[name])
    return both


def load(folder: Path, *settings: dict[str, Any]) -> Config:
    given = REQUIRED
    for some in settings:
        given = merged(given, nested(some))
    path = folder / "warmspan.yaml"
    path.write_text(yaml.safe_dump(given))
    return load_config(path)


def every_setting(section: Any = Config, prefix: str = "") -> Iterator[str]:
    for name, field in settings_in(section).items():
        if is_section(field.annotation):
            yield from every_setting(field.annotation, f"{prefix}{name}.")
        else:
            yield prefix + name


def test_every_setting_has_its_place():
    placed = [effect.setting for effect in EFFECTS] + ALWAYS.split() + REFUSED_ELSEWHERE.split()
    assert sorted(placed) == sorted(every_setting())
    assert [effect.setting for effect in EFFECTS] == list(CHANGED)


@pytest.mark.parametrize("effect", EFFECTS, ids=lambda effect: effect.setting)
def test_a_changed_setting_without_an_effect_is_refused_by_its_name(effect, tmp_path):
    value, _ = CHANGED[effect.setting]
    with pytest.raises(ConfigError) as refusal:
        load(tmp_path, {effect.setting: value} | WITHOUT.get(effect.setting, {}))
    assert f"\n  `{effect.setting}` has an effect {effect.when} only. Received: " in str(refusal.value)
    assert str(refusal.value).count("has an effect") == 1


@pytest.mark.parametrize("effect", EFFECTS, ids=lambda effect: effect.setting)
def test_at_its_default_it_is_taken_whatever_stands_beside_it(effect, tmp_path):
    beside = {name: value for name, value in WITHOUT.get(effect.setting, {}).items() if name != effect.setting}
    config = load(tmp_path, beside)
    assert effect.value(config) == effect.default


@pytest.mark.parametrize("effect", EFFECTS, ids=lambda effect: effect.setting)
def test_where_it_has_an_effect_it_is_taken(effect, tmp_path):
    value, beside = CHANGED[effect.setting]
    config = load(tmp_path, {effect.setting: value}, beside)
    assert effect.value(config) != effect.default


def test_what_init_writes_says_every_default_and_is_taken(tmp_path):
    values = {"name": "shop", "data.path": "events"}
    values |= {f"data.columns.{part}": name for part, name in REQUIRED["data"]["columns"].items()}
    (tmp_path / "warmspan.yaml").write_text(render(values, {}, ""))
    assert not ineffective(load_config(tmp_path / "warmspan.yaml"))


def test_what_init_of_an_earlier_version_wrote_is_taken(tmp_path):
    (tmp_path / "warmspan.yaml").write_text(Path(__file__).with_name("recorded_settings.yaml").read_text())
    assert not ineffective(load_config(tmp_path / "warmspan.yaml"))


def test_all_that_have_none_are_named_at_once(tmp_path):
    with pytest.raises(ConfigError, match=r"(?s)`update.schedule.keep` has .*\n  `alerts.timeout` has an effect"):
        load(tmp_path, {"update.schedule.keep": 0.3, "alerts.timeout": 3})


def test_a_plateau_that_no_training_waits_for_is_none(tmp_path):
    with pytest.raises(ConfigError, match=r"`update.schedule.within` has an effect .*if it is plateau, only"):
        load(tmp_path, {"update.schedule.within": "plateau", "update.schedule.patience": 3})


def test_what_a_change_takes_the_effect_of_goes_back_to_its_default(tmp_path):
    """As where a backtest's policy switches off a part that the settings file has tuned."""
    stability = "update.stability."
    tuned = load(
        tmp_path,
        {f"{stability}distillation.weight": 0.5, f"{stability}distillation.temperature": 2.0},
        {f"{stability}ewc.strength": 0.5, f"{stability}ewc.sample": 9},
    )
    changed = with_settings(tuned, nested({f"{stability}distillation.weight": 0}), "the test")
    assert changed.update.stability.distillation.temperature == 1
    assert changed.update.stability.ewc.sample == 9
    with pytest.raises(
        ConfigError, match=r"the test can't be used:\n  `update.stability.distillation.temperature` has"
    ):
        with_settings(tuned, nested({f"{stability}distillation": {"weight": 0, "temperature": 3.0}}), "the test")


def test_a_slice_that_there_is_not_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"must name slices, which are item_slice:new, .*Received: item_new"):
        load(tmp_path, {"gate.slice_thresholds": {"item_new": {"recall": {"floor": 0.1}}}})


@pytest.mark.parametrize("type_", ["two_tower", "ranking", "sasrec", "hstu"])
def test_a_parameter_that_the_model_does_not_have_is_refused_before_anything_runs(type_, tmp_path):
    config = load(tmp_path, {"model.type": type_, "model.params": {"width": 3}})
    with pytest.raises(ConfigError, match=f"`model.params` must be keyword arguments of `{type_}`.*'width'"):
        GraphParameters.of(config)
