"""What a served model answers, held against NumPy on the same weights."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.bundle import write_bundle
from serving.bundle.id_lookup import IdTable
from serving.bundle.protocols import UNAVAILABLE, Catalogue
from serving.bundle.signatures import Signatures
from tests.trainer.small_model import HISTORY, Small
from trainer.keras2 import keras, tf
from trainer.models.base import Recommender, TableSizes
from trainer.train_state import Trainable
from trainer.vocabulary import Vocabulary

NASTY = [
    b"line\nbreak",
    b"a,b",
    b"a",
    "🎬".encode(),
    b"\xff\xfe",
    b"\0",
    b"a\0",
    b" ",
    b'"q"',
    b"x" * 10_000,
    b"YQ==",
    b"\r\n",
    b"007",
    b"7",
]
KEYS = [b"u1", b"u\n2", b"\xf0\xff", b"u4"]
OOV_ROWS = 3
FIRST = 1 + OOV_ROWS
K, MAX_K = 4, 8
TITLES = [f"Title of {number}, 🎬\n" for number in range(len(NASTY))]

ids = st.sampled_from([*NASTY, b"unknown", b"another one", "né".encode()])
padded = st.lists(ids | st.just(b""), max_size=2 * HISTORY)
users = st.sampled_from([*KEYS, b"nobody", b""])


def grown(ids: list[bytes], oov_rows: int = OOV_ROWS) -> Vocabulary:
    return Vocabulary.empty(oov_rows).grow(ids, span=1, min_count=1, half_life=7.0)


ITEM_ROWS, KEY_ROWS = grown(NASTY), grown(KEYS)
SIZES = TableSizes(ITEM_ROWS.size, KEY_ROWS.size, FIRST)


def signatures_of(model: Recommender, max_k: int = MAX_K, exclude_seen: bool = True) -> Signatures:
    catalogue = Catalogue(items=NASTY, keys=KEYS, columns={"titles": TITLES}, first_row=FIRST)
    return Signatures(model, catalogue, k=K, max_k=max_k, exclude_seen=exclude_seen)


@pytest.fixture(scope="module")
def model() -> Small:
    tf.random.set_seed(2)
    return Small(SIZES, HISTORY)


@pytest.fixture(scope="module")
def saved(model: Small, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    write_bundle(signatures_of(model), folder / "bundle", {})
    return folder / "bundle"


@pytest.fixture(scope="module")
def ask(saved: Path) -> Callable[..., dict[str, np.ndarray]]:
    """Asks a signature of the saved model; ragged lists of ids are padded at the end."""
    loaded = tf.saved_model.load(str(saved))

    def call(name: str, **inputs: tf.Tensor) -> dict[str, np.ndarray]:
        return {key: value.numpy() for key, value in loaded.signatures[name](**inputs).items()}

    return call


def rectangle(rows: list[list[bytes]]) -> tf.Tensor:
    return tf.ragged.constant(rows, dtype=tf.string, ragged_rank=1).to_tensor("")


def scores_by_numpy(model: Small, user: bytes, history: list[bytes]) -> np.ndarray:
    """Scores of all rows, from the last known-or-not items of the history."""
    item, key = model.item.embeddings.numpy(), model.key.embeddings.numpy()
    rows = ITEM_ROWS.lookup([item for item in history if item])[-HISTORY:]
    query = key[KEY_ROWS.lookup([user])[0] if user else 0]
    query = query + (item[rows].mean(axis=0) if len(rows) else 0)
    kernel, bias = model.scale.layers[0].kernel.numpy(), model.scale.layers[0].bias.numpy()
    return (item @ query) * (kernel[0, 0] + bias[0]) + model.bias.numpy()


requests = st.lists(st.tuples(users, padded), min_size=1, max_size=4)


@settings(max_examples=60)
@given(request=requests)
def test_recommendations_are_the_best_unseen_items(model: Small, ask: Callable, request: list) -> None:
    answer = ask(
        "serving_default",
        user_id=tf.constant([user for user, _ in request]),
        history=rectangle([history for _, history in request]),
    )
    assert answer["scores"].shape == answer["item_ids"].shape == answer["titles"].shape == (len(request), MAX_K)
    for at, (user, history) in enumerate(request):
        scores = scores_by_numpy(model, user, history)
        left = {item: scores[FIRST + row] for row, item in enumerate(NASTY) if item not in history}
        best = sorted(left.values(), reverse=True)[:MAX_K]
        recommended = [item for item in answer["item_ids"][at] if item]
        np.testing.assert_allclose(answer["scores"][at][: len(best)], best, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose([left[item] for item in recommended], best, rtol=1e-4, atol=1e-5)
        assert len(set(recommended)) == len(best)
        assert answer["titles"][at].tolist() == [
            TITLES[NASTY.index(item)].encode() if item else b"" for item in answer["item_ids"][at]
        ]
        assert (answer["scores"][at][len(best) :] == np.float32(UNAVAILABLE)).all()


@settings(max_examples=30)
@given(user=users, history=st.lists(ids, max_size=2 * HISTORY), where=st.randoms(use_true_random=False))
def test_padding_may_stand_anywhere(ask: Callable, user: bytes, history: list[bytes], where) -> None:
    spread = list(history)
    for _ in range(5):
        spread.insert(where.randrange(len(spread) + 1), b"")
    both = rectangle([[*history, *[b""] * 5], spread])
    answer = ask("serving_default", user_id=tf.constant([user, user]), history=both)
    assert answer["item_ids"][0].tolist() == answer["item_ids"][1].tolist()
    np.testing.assert_array_equal(answer["scores"][0], answer["scores"][1])


def test_a_request_without_any_history_is_answered(model: Small, ask: Callable) -> None:
    answer = ask("serving_default", user_id=tf.constant([b"u1"]), history=tf.zeros([1, 0], tf.string))
    best = np.sort(scores_by_numpy(model, b"u1", [])[FIRST:])[::-1][:MAX_K]
    np.testing.assert_allclose(answer["scores"][0], best, rtol=1e-5)


def test_an_item_seen_long_ago_is_left_out_too(ask: Callable) -> None:
    history = [NASTY[0], *[b"unknown"] * (3 * HISTORY)]
    answer = ask("serving_default", user_id=tf.constant([b"u1"]), history=tf.constant([history]))
    assert NASTY[0] not in answer["item_ids"]


def test_a_user_who_has_seen_all_gets_nothing(ask: Callable) -> None:
    answer = ask("serving_default", user_id=tf.constant([b"u1"]), history=tf.constant([NASTY]))
    assert set(answer["item_ids"].ravel()) == {b""}
    assert (answer["scores"] == np.float32(UNAVAILABLE)).all()


@settings(max_examples=40)
@given(user=users, history=padded, candidates=st.lists(ids | st.just(b""), min_size=1, max_size=6))
def test_rank_scores_the_candidates_given(model: Small, ask: Callable, user, history, candidates) -> None:
    answer = ask(
        "rank",
        user_id=tf.constant([user]),
        history=rectangle([[*history, b""]]),
        candidates=tf.constant([candidates]),
    )
    scores = scores_by_numpy(model, user, history)
    wanted = [scores[FIRST + NASTY.index(candidate)] if candidate in NASTY else UNAVAILABLE for candidate in candidates]
    np.testing.assert_allclose(answer["scores"][0], np.array(wanted, np.float32), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("max_k", "exclude_seen"), [(5, False), (100, True), (100, False)])
def test_fewer_items_than_asked_for_and_seen_ones_kept(model: Small, max_k: int, exclude_seen: bool) -> None:
    made = signatures_of(model, max_k, exclude_seen)
    answer = made.recommend(tf.constant([b"u1"]), tf.constant([NASTY[:2]]))
    recommended = [item for item in answer["item_ids"].numpy()[0] if item]
    left = NASTY[2:] if exclude_seen else NASTY
    assert len(recommended) == min(max_k, len(left))
    assert set(recommended) <= set(left)
    assert (len(recommended) == len(left)) <= (set(recommended) == set(left))
    assert np.isfinite(answer["scores"].numpy()).all()


def test_an_empty_catalogue_recommends_nothing(tmp_path: Path) -> None:
    bare = Small(TableSizes(FIRST, FIRST, FIRST), HISTORY)
    made = Signatures(bare, Catalogue([], [], {"titles": []}, FIRST), K, MAX_K, True)
    write_bundle(made, tmp_path / "bundle", {})
    recommend = tf.saved_model.load(str(tmp_path / "bundle")).signatures["serving_default"]
    answer = recommend(user_id=tf.constant([b"u1"]), history=tf.constant([[b"a", b""]]))
    assert set(answer["item_ids"].numpy().ravel()) == {b""}


def serialised(key: int, history: list[int], item: int, weight: float) -> bytes:
    def ints(values: list[int]) -> tf.train.Feature:
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))

    feature = {
        "key": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"\xff"])),
        "key_row": ints([key]),
        "history": ints(history),
        "item_row": ints([item]),
        "weight": tf.train.Feature(float_list=tf.train.FloatList(value=[weight])),
        "label": tf.train.Feature(float_list=tf.train.FloatList(value=[1.0])),
    }
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


# Rows that came into the vocabulary after the model are in there too.
rows = st.integers(1, SIZES.items + 3)
positions = st.tuples(st.integers(1, SIZES.keys + 3), st.lists(rows, max_size=HISTORY), rows, st.floats(0, 5, width=32))


@settings(max_examples=40)
@given(asked_positions=st.lists(positions, min_size=1, max_size=5))
def test_evaluate_is_evaluate_rows_and_both_count_ranks(model: Small, ask: Callable, asked_positions: list) -> None:
    packed = ask("evaluate", examples=tf.constant([serialised(*position) for position in asked_positions]))
    history = np.array([[0] * (HISTORY - len(history)) + history for _, history, _, _ in asked_positions], np.int64)
    key, item = (np.array([position[at] for position in asked_positions], np.int64) for at in (0, 2))
    weight = np.array([position[3] for position in asked_positions], np.float32)
    plain = ask(
        "evaluate_rows",
        key=tf.constant(key),
        history=tf.constant(history),
        item=tf.constant(item),
        weight=tf.constant(weight),
    )
    assert packed.keys() == plain.keys() == {"recall", "ndcg", "mrr"}
    for name, value in plain.items():
        np.testing.assert_array_equal(packed[name], value[:, None])
    scores = model.score_all(
        tf.constant(np.where(key < SIZES.keys, key, 1)), tf.constant(np.where(history < SIZES.items, history, 1))
    ).numpy()
    for at, target in enumerate(item):
        rank = SIZES.items
        if FIRST <= target < SIZES.items:
            others = set(range(FIRST, SIZES.items)) - {target} - set(history[at].tolist())
            rank = sum(scores[at, row] >= scores[at, target] for row in others)
        assert plain["recall"][at] == float(rank < K)
        assert plain["mrr"][at] == pytest.approx(1 / (rank + 1) if rank < K else 0)


@pytest.mark.parametrize("oov_rows", [1, 2, 5])
def test_the_graph_looks_ids_up_as_the_vocabulary_does(oov_rows: int) -> None:
    table = IdTable(NASTY, 1 + oov_rows)
    asked = [*NASTY, *KEYS, *(b"unknown %d" % number for number in range(50))]
    rows = table.rows(tf.constant([asked, asked])).numpy()
    np.testing.assert_array_equal(rows, [grown(NASTY, oov_rows).lookup(asked)] * 2)
    assert set(rows[0][len(NASTY) :]) == set(range(1, 1 + oov_rows))
    assert table.rows(tf.constant([b""])).numpy() == [0]


_PLAIN_TENSORFLOW = """
import json, sys
import tensorflow as tf
assert not {"trainer", "serving", "tensorflow_recommenders"} & set(sys.modules)
recommend = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
answer = recommend(user_id=tf.constant(["u1", "nobody"]), history=tf.constant([["a", "007"], ["", "a,b"]]))
found = [[one.hex() for one in row] for row in answer["item_ids"].numpy()]
print(json.dumps([answer["scores"].numpy().tolist(), found]))
"""


def test_plain_tensorflow_in_a_fresh_process_answers_the_same(saved: Path, ask: Callable) -> None:
    command = [sys.executable, "-c", _PLAIN_TENSORFLOW, str(saved)]
    scores, item_ids = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    here = ask(
        "serving_default",
        user_id=tf.constant(["u1", "nobody"]),
        history=tf.constant([["a", "007"], ["", "a,b"]]),
    )
    assert item_ids == [[item.hex() for item in row] for row in here["item_ids"]]
    np.testing.assert_allclose(np.array(scores, np.float32), here["scores"], rtol=1e-5)


def test_neither_optimizer_slots_nor_the_model_twice_are_saved(tmp_path: Path) -> None:
    wide = Small(SIZES, HISTORY, dimension=2000)
    trainable = Trainable(wide, keras.optimizers.Adam(0.1))
    wide.compile(optimizer=trainable.optimizer)
    write_bundle(signatures_of(wide), tmp_path / "bundle", {})
    weights = sum(variable.numpy().nbytes for variable in wide.variables)
    size = sum(path.stat().st_size for path in (tmp_path / "bundle" / "variables").iterdir())
    assert weights < size < 1.2 * weights
    assert weights > 100_000
