"""A backtest follows the catalogue as the pipeline does, and its models learn from what it says."""

from __future__ import annotations

import numpy as np
import pytest

from components.catalogue_gen.state import load_table
from pipeline.backtest.prepared_spans import prepare
from pipeline.config import load_config
from pipeline.parameters.graph_parameters import GraphParameters
from pipeline.planning.deliveries import read_deliveries
from tests.components.catalogue_gen.catalogue_days import run as run_component
from tests.pipeline.backtest.backtest_shop import DAYS, SETTINGS, deliver_shop, run

_WITH = (
    SETTINGS.replace("{type: tests.trainer.small_model.Small}", "{type: two_tower, params: {dimension: 4}}")
    + """\
catalogue: {path: shop/items.csv, pattern: null}
features: {item: [{name: category, kind: category}]}
"""
)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    base = tmp_path_factory.mktemp("shop")
    shop = deliver_shop(base, _WITH, days=3)
    return shop, prepare(shop, read_deliveries(shop), base / "spans", lambda name: None)


def test_each_span_has_the_catalogue_that_the_component_makes(prepared, tmp_path):
    shop, spans = prepared
    settings = GraphParameters.of(shop).catalogue
    yesterday = None
    for span, day in zip(spans, DAYS, strict=False):
        yesterday = run_component(settings, day, tmp_path, yesterday)
        assert load_table(span.folder / "catalogue").equals(yesterday.table)


def test_all_that_is_sold_has_a_row_and_what_was_learned_is_marked(prepared):
    shop, spans = prepared
    features = spans[0].item_features(shop.features.item)
    assert spans[0].sizes.items == len(features.learned) >= len(load_table(spans[0].folder / "catalogue")) + 2
    assert 0 < features.learned.sum() < len(features.learned) - 2
    assert np.array_equal(features.learned, spans[0].popularity > 0)
    assert features.sizes == (
        ("feature_category", 3 + len(set(load_table(spans[0].folder / "catalogue")["category"]))),
    )
    assert spans[0].item_features(None) is None


def test_policies_learn_from_it(prepared, tmp_path):
    shop, spans = prepared
    rows = run(shop, spans, "fine-tune", tmp_path)
    assert [row.action for row in rows] == ["cold_start", "fine_tune", "fine_tune"]


def test_another_catalogue_is_another_span(prepared, tmp_path):
    shop, spans = prepared
    path = shop.root.parent / "shop" / "items.csv"
    text = path.read_text()
    try:
        path.write_text(text + "i-more,One more,Study\n")
        again = prepare(shop, read_deliveries(shop), tmp_path / "spans", lambda name: None)
    finally:
        path.write_text(text)
    assert all(new.fingerprint != old.fingerprint for new, old in zip(again, spans, strict=True))
    plain = shop.root.parent / "plain.yaml"
    plain.write_text(SETTINGS)
    assert GraphParameters.of(load_config(plain)).catalogue is None
