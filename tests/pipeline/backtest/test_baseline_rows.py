"""Baselines stand on the events of the policies, with what the log says of the days before."""

from __future__ import annotations

import collections
import csv
import itertools

import numpy as np
import pytest

from pipeline.backtest.baseline_rows import baseline_rows, past_of
from pipeline.backtest.prepared_spans import PreparedSpan, prepare
from pipeline.config import Config, ConfigError, with_settings
from pipeline.parameters.graph_parameters import GraphParameters
from pipeline.planning.deliveries import read_deliveries
from tests.pipeline.backtest.backtest_shop import DAYS, SETTINGS, deliver_shop, run


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return deliver_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def spans(shop: Config, tmp_path_factory: pytest.TempPathFactory) -> list[PreparedSpan]:
    return prepare(shop, read_deliveries(shop), tmp_path_factory.mktemp("prepared") / "spans", lambda name: None)


def test_most_popular_counts_the_days_before_and_leaves_seen_items_out(tmp_path):
    # A history so long that no position lacks a part of it.
    shop = deliver_shop(tmp_path, SETTINGS.replace("length: 6", "length: 200"))
    spans = prepare(shop, read_deliveries(shop), tmp_path / "spans", lambda name: None)
    rows, halving = baseline_rows(shop, spans, lambda name: None)
    assert [rows[0].policy, halving[0].policy] == ["most popular, 7 spans", "most popular, half-life 2 days"]
    days = [_events(shop, day) for day in DAYS]
    for index in range(1, 4):
        before = collections.Counter(item for day in days[:index] for _, item, _, _ in day)
        seen: dict[str, list[str]] = collections.defaultdict(list)
        for key, item, _, _ in sorted(itertools.chain(*days[:index]), key=lambda event: event[2]):
            seen[key].append(item)
        hits, weights = [], []
        for key, item, _, quantity in sorted(days[index], key=lambda event: event[2]):
            shut_out = set(seen[key]) - {item}
            # Ties count against the item.
            better = sum(count >= before[item] for other, count in before.items() if other not in {*shut_out, item})
            hits.append(before[item] > 0 and better < shop.gate.k)
            weights.append(quantity)
            seen[key].append(item)
        assert rows[index].events == len(days[index])
        assert rows[index].metrics["recall"] == pytest.approx(np.average(hits, weights=weights))
        assert np.average(hits, weights=weights) != np.mean(hits)


BASELINES = {"baselines": ["half_life", "own_items", "cooccurrence", "v_sknn"], "nearest": 3}


def test_baselines_are_tested_on_the_events_of_the_policies_and_told_of_each_once(shop, spans, tmp_path):
    config = with_settings(shop, {"push": {"exclude_seen": False}, "backtest": BASELINES}, "the test")
    tested = [row.events for row in run(shop, spans, "never", tmp_path)]
    for rows in baseline_rows(config, spans, lambda name: None):
        assert [row.events for row in rows] == tested
        assert all(0 < row.metrics["recall"] <= 1 for row in rows[1:])
    last = [rows[1:] for rows in baseline_rows(config, spans, lambda name: None, last=2)]
    assert last == [rows[2:] for rows in baseline_rows(config, spans, lambda name: None)]
    log = sorted((time, key, item) for day in DAYS[:3] for key, item, time, _ in _events(shop, day))
    past = [past_of(before, span) for before, span in itertools.pairwise(spans)]
    keys = [np.repeat(of.key, np.diff(of.splits) - of.first_new) for of in past]
    counts = collections.Counter(np.concatenate(keys).tolist())
    assert sorted(counts.values()) == sorted(collections.Counter(key for _, key, _ in log).values())
    items = collections.Counter(np.concatenate([of.positions().target for of in past]).tolist())
    assert sorted(items.values()) == sorted(collections.Counter(item for _, _, item in log).values())


def test_baselines_are_shown_as_the_settings_say(shop, spans):
    none = with_settings(shop, {"backtest": {"baselines": []}}, "the test")
    assert baseline_rows(none, spans, lambda name: None) == []
    hours = with_settings(shop, {"data": {"span_hours": 1.0}, "backtest": {"baselines": ["half_life"]}}, "the test")
    ((first, *_),) = baseline_rows(hours, spans[:2], lambda name: None)
    assert first.policy == "most popular, half-life 2 hours"
    with pytest.raises(ConfigError, match=r"can have `own_items` where.*`push.exclude_seen: true`"):
        with_settings(shop, {"backtest": {"baselines": ["own_items"]}}, "the test")
    with pytest.raises(ConfigError, match=r"must name each once. Received: half_life, half_life"):
        with_settings(shop, {"backtest": {"baselines": ["half_life", "half_life"]}}, "the test")
    rated = {"model": {"type": "ranking", "params": {}}, "backtest": {"half_life": 3.0}}
    with pytest.raises(ConfigError, match=r"measured by recall, ndcg and mrr. Received: .* for `ranking`.* by rmse"):
        GraphParameters.of(with_settings(shop, rated, "the test"))


def _events(shop: Config, day: str) -> list[tuple[str, str, str, float]]:
    with (shop.data.path / day / "events.csv").open(newline="") as file:
        rows = csv.DictReader(file)
        return [(row["user_id"], row["item_id"], row["timestamp"], float(row["quantity"])) for row in rows]
