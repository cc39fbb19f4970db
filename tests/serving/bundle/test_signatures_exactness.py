"""`recommend` against brute force: histories, exclusions, candidates, strangers, withdrawn items and every k."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.bundle.protocols import UNAVAILABLE
from tests.serving.recommenders import Shop, answered, export, loaded, make_shop
from trainer.models.ranking import Ranking
from trainer.models.sasrec import SasRec

ITEMS, KEYS, MAX_K = 1500, 20, 10

some_items = st.integers(0, ITEMS + 4).map(lambda number: b"item %d" % number)  # the last five are unknown
popular = st.integers(0, 30).map(lambda number: b"item %d" % number)
padding = st.just(b"")
lists = st.lists(some_items | popular | padding, max_size=12)
users = st.integers(0, KEYS + 3).map(lambda number: b"user %d" % number) | padding
one_request = st.tuples(users, lists, lists, lists | st.just([]), st.integers(-1, MAX_K + 3))
requests = st.lists(one_request, min_size=1, max_size=8)

ScoreFn = Callable[..., dict[str, np.ndarray]]
Scores = Callable[[Sequence[bytes], Sequence[Sequence[bytes]]], np.ndarray]


SMALL: dict[str, dict[str, Any]] = {
    "two_tower": {"dimension": 4},
    "sasrec": {"dimension": 4, "neighbours": 3},
    "ranking": {"dimension": 4, "hidden": (6, 4)},
}


@pytest.fixture(scope="module", params=list(SMALL))
def shop(request: pytest.FixtureRequest) -> Shop:
    """The shop whose model is exported."""
    return make_shop(ITEMS, KEYS, request.param, **SMALL[request.param])


@pytest.fixture(scope="module")
def scores(request: pytest.FixtureRequest, shop: Shop) -> Scores:
    """Of the same model as it was trained: another one, because an export changes its own."""
    type_ = {SasRec: "sasrec", Ranking: "ranking"}.get(type(shop.model), "two_tower")
    return make_shop(ITEMS, KEYS, type_, **SMALL[type_]).scores


@pytest.fixture(scope="module")
def ask(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> ScoreFn:
    return loaded(export(shop, tmp_path_factory.mktemp("shop") / "bundle", MAX_K))


def agree(got: list[tuple[float, bytes]], best: list[tuple[float, bytes]], k: int) -> None:
    """The same items in the same order, but for scores that are equal to the precision of a float."""
    assert len(got) == min(k, len(best))
    assert len({item for _, item in got}) == len(got)
    score_of = {item: score for score, item in best}
    wanted = [score for score, _ in best[:k]]
    np.testing.assert_allclose([score for score, _ in got], wanted, rtol=2e-4, atol=1e-4)
    np.testing.assert_allclose([score_of[item] for _, item in got], wanted, rtol=2e-4, atol=1e-4)


@settings(max_examples=120)  # of three requests and more on average, for each of the models
@given(batch=requests)
def test_recommend_is_brute_force(shop: Shop, scores: Scores, ask: ScoreFn, batch: list) -> None:
    user, history, exclude, candidates, k = (list(column) for column in zip(*batch, strict=True))
    answer = ask(
        "recommend",
        user_id=user,
        history=history,
        exclude=exclude,
        candidates=candidates,
        k=np.array(k, np.int32),
    )
    of_all = scores(user, history)
    widths = [width if 0 < width < MAX_K else MAX_K for width in k]
    assert answer["item_ids"].shape == (len(batch), max(widths))
    for row, width in enumerate(widths):
        agree(answered(answer, row), shop.best(of_all[row], history[row], exclude[row], candidates[row]), width)
        padded = answer["scores"][row] == np.float32(UNAVAILABLE)
        assert set(answer["item_ids"][row][padded]) | set(answer["titles"][row][padded]) <= {b""}
    for item, year in zip(answer["item_ids"].ravel(), answer["year"].ravel(), strict=True):
        assert year == (shop.catalogue.columns["year"][shop.ids.index(item)].encode() if item else b"")


@settings(max_examples=30)
@given(batch=requests)
def test_the_default_is_recommend_without_anything_asked_for(ask: ScoreFn, batch: list) -> None:
    user, history = ([column[at] for column in batch] for at in (0, 1))
    plain = ask("serving_default", user_id=user, history=history)
    nothing = [[] for _ in batch]
    full = ask(
        "recommend",
        user_id=user,
        history=history,
        exclude=nothing,
        candidates=nothing,
        k=np.zeros(len(batch), np.int32),
    )
    assert plain.keys() == full.keys() == {"item_ids", "scores", "titles", "year"}
    for name, value in plain.items():
        np.testing.assert_array_equal(full[name], value)


@settings(max_examples=30)
@given(batch=requests)
def test_rank_is_the_score_of_what_can_be_had(shop: Shop, scores: Scores, ask: ScoreFn, batch: list) -> None:
    user, history, _, candidates, _ = (list(column) for column in zip(*batch, strict=True))
    answer = ask("rank", user_id=user, history=history, candidates=candidates)["scores"]
    of_all = scores(user, history)
    for row, listed in enumerate(candidates):
        known = {item: score for score, item in shop.best(of_all[row], ())}
        wanted = [known.get(item, UNAVAILABLE) for item in listed]
        np.testing.assert_allclose(answer[row][: len(listed)], np.array(wanted, np.float32), rtol=2e-4, atol=1e-4)


def test_a_withdrawn_item_is_never_answered_but_still_says_what_a_user_likes(shop: Shop, ask: ScoreFn) -> None:
    gone = b"item 9"
    assert gone not in shop.catalogue.items or not shop.available[9]
    alone = ask("recommend", user_id=[b""], history=[[]], exclude=[[]], candidates=[[gone]], k=np.zeros(1, np.int32))
    assert answered(alone, 0) == []
    with_it, without = (ask("serving_default", user_id=[b""], history=[item])["scores"] for item in ([gone], [b""]))
    assert not np.allclose(with_it, without)


def test_embedded_vectors_multiply_to_the_scores(shop: Shop, ask: ScoreFn) -> None:
    request = {"user_id": [b"user 3"], "history": [[b"item 1", b"item 2"]]}
    listed = [[b"item 7", b"item 8", b"item 20", b"nobody's", b""]]
    if shop.model.dot_product is None:
        with pytest.raises(Exception, match='name: "embed" not found'):
            ask("embed", **request, items=listed)
        return
    embedded = ask("embed", **request, items=listed)
    products = np.einsum("bd,bcd->bc", embedded["user_vectors"], embedded["item_vectors"])[0]
    assert products[3:].tolist() == [0.0, 0.0]
    if shop.model.dot_product.whole:
        ranked = ask("rank", **request, candidates=listed)["scores"][0]
        np.testing.assert_allclose(products[:3], ranked[:3], rtol=1e-4)
    else:
        assert np.isfinite(products).all()
