"""A backtest tunes encoders and encodes texts as the pipeline does: each once, from the day before on."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.tiny_bert import write_tiny_bert
from components.item_encoder import Encodings
from components.item_encoder.published import published_folder
from pipeline.backtest.prepared_spans import PreparedSpan, prepare
from pipeline.config import Config
from pipeline.planning.deliveries import read_deliveries
from tests.pipeline.backtest.backtest_shop import SETTINGS, deliver_shop, run
from trainer.encoders.text_encoder import TextEncoder
from trainer.encoders.tuned_weights import TunedWeights
from trainer.encoders.tuning import TuningState

_WITH = (
    SETTINGS.replace("{type: tests.trainer.small_model.Small}", "{type: two_tower, params: {dimension: 4}}")
    + """\
catalogue: {path: shop/items.csv, pattern: null}
encoders: {tiny: {path: tiny, max_tokens: 16, tuning: {learning_rate: 0.05}}}
features: {item: [{name: title, kind: text}, {name: category, kind: category}]}
"""
)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> tuple[Config, list[PreparedSpan]]:
    base = tmp_path_factory.mktemp("shop")
    write_tiny_bert(base / "tiny", num_hidden_layers=1)
    shop = deliver_shop(base, _WITH, days=3)
    return shop, prepare(shop, read_deliveries(shop), base / "spans", lambda name: None)


def encodings(span: PreparedSpan) -> Encodings:
    return Encodings.open(span.folder / "encodings" / "title")


def test_a_text_is_encoded_in_the_first_span_that_has_it(prepared):
    _, spans = prepared
    first, *rest = [encodings(span).counts for span in spans]
    assert first["encoded"] == first["kept"] > 0
    assert [(of["encoded"], of["reused"]) for of in rest] == [(0, first["texts"])] * 2


def test_a_model_is_told_what_the_encoder_makes_of_each_title(prepared):
    shop, spans = prepared
    features = spans[-1].item_features(shop.features.item)
    of = features.vectors["title"]
    assert of.column == encodings(spans[-1]).column
    assert features.sizes[-1] == (f"feature_{of.column}", 16)
    table = (shop.root.parent / "shop" / "items.csv").read_text().splitlines()[1:]
    item, title = table[0].split(",")[:2]
    revision = published_folder(spans[-1].folder / "tuned" / "title")
    tuned = None if revision is None else TunedWeights.load(revision)
    expected = TextEncoder(str(shop.encoders["tiny"].path), 16, "", tuned).encode([title], 4)[0]
    row = spans[-1]._vocabularies.items.lookup([item])[0]
    assert of.values[row] == pytest.approx(expected / np.linalg.norm(expected), abs=1e-2)
    assert spans[-1].item_features(shop.features.item[1:]).vectors == {}


def test_an_encoder_that_is_tuned_learns_each_span_once(prepared):
    _, spans = prepared
    states = [TuningState.load(span.folder / "tuned" / "title" / "tuning") for span in spans]
    numbers = [span.number for span in spans]
    assert [list(state.learned) for state in states] == [numbers[:1], numbers[:2], numbers]
    steps = [state.iterations for state in states]
    assert 0 < steps[0] < steps[1] < steps[2]
    assert len({encodings(span).encoder for span in spans}) == 1  # a revision is not due yet


def test_policies_learn_from_it(prepared, tmp_path):
    shop, spans = prepared
    assert [row.action for row in run(shop, spans, "fine-tune", tmp_path)] == ["cold_start", "fine_tune", "fine_tune"]


def test_another_encoder_is_another_span(prepared, tmp_path):
    shop, spans = prepared
    tiny = shop.encoders["tiny"].model_copy(
        update={"path": write_tiny_bert(tmp_path / "other", seed=2, num_hidden_layers=1), "tuning": None}
    )
    changed = shop.model_copy(update={"encoders": {"tiny": tiny}})
    again = prepare(changed, read_deliveries(changed), tmp_path / "spans", lambda name: None)
    assert all(new.fingerprint != old.fingerprint for new, old in zip(again, spans, strict=True))
    assert encodings(again[0]).column != encodings(spans[0]).column
