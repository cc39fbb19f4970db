"""An explanation against brute force: on small bundles of every kind of model, 200 pairs each, and on a real run."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import numpy as np
import pytest

from pipeline.explain.explainer import Explainer, ExplainError, Explanation, bases_of
from pipeline.explain.rendering import as_dict, as_lines, carried, clock, headline, lineage, span_ranges
from pipeline.explain.trained_model import Ids, TrainedModel
from pipeline.ledger.models import Model, ModelLineage
from serving.bundle.attribution import item_vectors, nearest, score_fn_of
from serving.bundle.index_settings import IndexSettings
from serving.bundle.saved_model import SavedModel
from tests.pipeline.hand_made_ledger import DAYS
from tests.serving.recommenders import FIRST, HISTORY, Shop, export, make_shop

ITEMS, KEYS, PAIRS, NAMED = 60, 20, 80, 3
KINDS = {
    "two_tower": ("two_tower", {"dimension": 8}, "linear"),
    "mf": ("mf", {"dimension": 8}, "ridge"),
    "ranking": ("ranking", {"dimension": 8, "objective": "click"}, "left out"),
    "stages": ("two_stage", {"retrieval": {"dimension": 8}, "ranking": {"dimension": 8}, "candidates": 9}, "left out"),
    "sasrec": ("sasrec", {"dimension": 8}, "attention"),
    "sasrec projected": ("sasrec", {"dimension": 8, "head": "projected"}, "left out"),
}
# What the export of a Transformer, or of crosses, takes is no matter of seconds; each way to explain is tried without
# the last two.
_SLOW, _EXHAUSTIVE = {"stages", "sasrec", "sasrec projected"}, {"stages", "sasrec projected"}
KIND = [
    pytest.param(kind, marks=[pytest.mark.slow] * (kind in _SLOW) + [pytest.mark.exhaustive] * (kind in _EXHAUSTIVE))
    for kind in KINDS
]


@dataclasses.dataclass(frozen=True)
class Case:
    shop: Shop
    explainer: Explainer
    method: str


@functools.cache
def case(kind: str, folder: Path, table: str = "float32") -> Case:
    type_, params, method = KINDS[kind]
    shop = make_shop(ITEMS, KEYS, type_, **params)
    model = SavedModel("shop", 1, export(shop, folder / f"{kind} {table}", ITEMS, IndexSettings(table=table)))
    ids = Ids(shop.items, shop.keys, {}, shop.available)
    explainer = Explainer(
        1, score_fn_of(model), TrainedModel(shop.model, ids), ids, shop.ids, item_vectors(model, shop.ids), (3, 4), ()
    )
    return Case(shop, explainer, method)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bundles")


def pairs(shop: Shop, seed: int) -> list[tuple[bytes, bytes, list[bytes]]]:
    """Random users, items that may be recommended, and histories of any length with repetitions and unknown ids."""
    random, sold = np.random.default_rng(seed), np.flatnonzero(shop.available)
    triples = []
    for _ in range(PAIRS):
        history = [shop.ids[at] for at in random.integers(0, ITEMS, random.integers(0, HISTORY + 1))]
        if history and random.random() < 0.2:
            history[random.integers(len(history))] = b"never seen"
        triples.append((b"user %d" % random.integers(KEYS + 2), shop.ids[random.choice(sold)], history))
    return triples


def explained(of: Case, user: bytes, item: bytes, history: list[bytes]) -> Explanation:
    return of.explainer.explain(user, item, history, list(range(len(history))), HISTORY, NAMED)


@functools.cache
def all_explained(kind: str, folder: Path) -> list[tuple[tuple[bytes, bytes, list[bytes]], Explanation]]:
    of = case(kind, folder)
    return [(pair, explained(of, *pair)) for pair in pairs(of.shop, 1)]


@pytest.mark.parametrize("kind", KIND)
def test_without_the_named_events_the_score_falls_as_stated(kind, folder):
    of = case(kind, folder)
    for (user, item, history), explanation in all_explained(kind, folder):
        assert explanation.method == of.method
        out = {event.time for event in explanation.events[: explanation.named]}
        # By brute force the trained model itself scores what is left; the explanation had asked the bundle.
        lists = [history, [item_id for at, item_id in enumerate(history) if at not in out]]
        lists += [
            [item_id for at, item_id in enumerate(history) if at != of_event.time] for of_event in explanation.events
        ]
        lists += [[]] * (HISTORY + 2 - len(lists))  # one graph for all
        row = of.shop.items.lookup([item])[0]
        scores = of.shop.scores([user] * len(lists), lists)[:, row]
        stated = [
            explanation.score,
            explanation.score - explanation.fall,
            *(explanation.score - event.fall for event in explanation.events),
        ]
        np.testing.assert_allclose(stated, scores[: len(stated)], rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("kind", [param for param in KIND if KINDS[param.values[0]][2] != "left out"])
def test_the_shares_and_the_rest_add_up_to_the_served_score(kind, folder):
    for _, explanation in all_explained(kind, folder):
        total = sum(event.share for event in explanation.events) + sum(explanation.rest.values())
        assert total == pytest.approx(explanation.score, rel=1e-5, abs=2e-5)
        by = [event.share if explanation.method == "linear" else event.fall for event in explanation.events]
        assert by == sorted(by, reverse=True)


def test_a_linear_share_is_what_the_score_loses_when_nothing_is_known_of_the_item(folder):
    """Zeros in place of an item's vector take its events' terms out of the sum, and nothing else."""
    of = case("two_tower", folder)
    table = of.shop.model.item_embedding.embeddings
    for (user, item, history), explanation in all_explained("two_tower", folder):
        gone = next((item_id for item_id in history if item_id not in (item, b"never seen")), None)
        if gone is None:
            continue
        before, row = table.numpy(), of.shop.items.lookup([gone])[0]
        table.assign(np.where(np.arange(len(before))[:, None] == row, 0, before))
        after = of.shop.scores([user], [history])[0, of.shop.items.lookup([item])[0]]
        table.assign(before)
        fall = sum(event.share for event in explanation.events if event.item == gone.decode())
        assert explanation.score - after == pytest.approx(fall, abs=1e-5)


@pytest.mark.slow
def test_an_attention_share_is_exact_while_the_attention_is_held(folder):
    """As stated: the term is attention times product over the session's length, which NumPy finds too."""
    of = case("sasrec", folder)
    model, trained = of.shop.model, of.explainer.trained
    table = model.item_embedding.embeddings.numpy()
    for (_, item, history), explanation in all_explained("sasrec", folder):
        if not history:
            continue
        rows = trained.history_rows(history)
        attention, raw = model._attended(rows, training=False)
        weights, raw = attention.numpy()[0, -1], raw.numpy()[0]
        target = table[of.shop.items.lookup([item])[0]]
        scale = model.mixture.weights_.numpy()[0] * np.exp(model.log_scale.numpy())
        terms = scale * weights * (raw @ target) / np.linalg.norm(target) / np.linalg.norm(weights @ raw)
        shares = [event.share for event in sorted(explanation.events, key=lambda carrier: carrier.time)]
        np.testing.assert_allclose(shares, terms[-len(history) :], rtol=1e-4, atol=1e-5)
        assert weights[-len(history) :].sum() == pytest.approx(1.0, abs=1e-5)


def test_a_bundle_of_fewer_bits_says_that_shares_are_not_those_of_what_is_served(folder):
    of = case("two_tower", folder, "int8")
    of.shop.model.served.table = type(case("two_tower", folder).shop.model.served.table)(
        of.shop.model.item_embedding.embeddings
    )
    methods = set()
    for user, item, history in pairs(of.shop, 5)[:20]:
        explanation = explained(of, user, item, history)
        methods.add(explanation.method)
        assert ("in fewer bits" in explanation.note) == (explanation.method == "left out")
    assert "left out" in methods


def test_the_place_is_that_among_all_items_that_can_be_recommended(folder):
    of = case("ranking", folder)
    for (user, _, history), explanation in all_explained("ranking", folder)[:20]:
        best = of.shop.best(of.shop.scores([user], [history])[0], ())
        assert explanation.among == len(best)
        assert [item_id for _, item_id in best][explanation.place - 1].decode() == explanation.item


def test_the_nearest_items_are_those_of_brute_force(folder):
    of = case("two_tower", folder)
    table = of.shop.model.item_embedding.embeddings.numpy()[FIRST:]
    unit = table / np.linalg.norm(table, axis=1, keepdims=True)
    explanation = explained(of, b"user 1", b"item 7", [b"item 1"])
    cosine = unit @ unit[7]
    order = [at for at in np.argsort(-cosine) if at != 7][:10]
    assert [neighbour.item for neighbour in explanation.nearest] == [f"item {at}" for at in order]
    np.testing.assert_allclose([neighbour.cosine for neighbour in explanation.nearest], cosine[order], rtol=1e-5)
    assert nearest(np.zeros((3, 2)), 0, 2) == []


def test_what_can_not_be_explained_is_a_sentence(folder):
    of = case("two_tower", folder)
    with pytest.raises(ExplainError, match=r"has learned. Received: 'none', which has no row of its own"):
        explained(of, b"user 1", b"none", [])
    with pytest.raises(ExplainError, match=r"Received: 'item 9', which the items file says is not available"):
        explained(of, b"user 1", b"item 9", [])
    late = Explainer(1, of.explainer.ask, None, of.explainer.ids, of.shop.ids[:-2], None, (), ())
    late.ask = lambda user, histories, items: np.full((len(histories), len(items)), -1e30)  # type: ignore
    with pytest.raises(ExplainError, match="was seen only after this version"):
        late.explain(b"user 1", of.shop.ids[-1], [], [], HISTORY)


def test_the_sentences_say_the_numbers(folder):
    of = case("two_tower", folder)
    explanation = explained(of, b"user 1", b"item 7", [b"item 1", b"item 2"])
    assert headline(explanation).startswith(
        f"item 7 scores {explanation.score:.4f} for user user 1: place {explanation.place} of 54"
    )
    assert f"by {abs(explanation.fall):.4f}" in carried(explanation) or explanation.named == 0
    assert "has learned 2 spans: 1970-01-04 to 1970-01-05." in lineage(explanation, DAYS)
    unmet = dataclasses.replace(explanation, first_span=-1, count=0)
    assert "is in the catalogue and has no event so far" in lineage(unmet, DAYS)
    assert as_dict(unmet, DAYS)["first_span"] is None
    assert len(list(as_lines(explanation, DAYS))) > 5
    assert as_dict(explanation, DAYS)["learned"] == ["1970-01-04", "1970-01-05"]
    assert carried(explained(of, b"user 1", b"item 7", [])) == "The user has no event that the model looks at."
    assert span_ranges([0, 1, 2, 4], DAYS) == ["1970-01-01 to 1970-01-03", "1970-01-05"]
    assert clock(0) == "1970-01-01 00:00"
    assert clock(10**18) == str(10**18)


def test_bases_are_followed_to_the_first_model():
    def model(number: int, *bases: int) -> Model:
        return Model(number, 100 + number, number, "", True, {}, False, "", frozenset(bases))

    lineage = ModelLineage((model(1), model(2, 1), model(3, 2, 1)), ())
    assert bases_of(lineage, 103) == (102, 101)
    assert bases_of(lineage, 999) == ()
