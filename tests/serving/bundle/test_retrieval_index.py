"""How items are found: exact top k, tables of fewer bits, lists of like items, and what each refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as np_st
from tensorflow.python.saved_model.loader_impl import SavedModelLoader

from serving.bundle.index_settings import IndexSettings
from serving.bundle.protocols import UNAVAILABLE
from serving.bundle.quantization import Float16Table, Int8Table
from serving.bundle.retrieval_index import IndexSettingsError
from serving.bundle.signatures import Signatures
from serving.bundle.spherical_kmeans import cluster
from serving.bundle.top_k import best
from serving.bundle.warmup_requests import read_warm_up
from tests.serving.recommenders import answered, export, loaded, make_shop
from trainer.keras2 import tf


@given(
    scores=np_st.arrays(np.float32, st.tuples(st.integers(1, 3), st.integers(1, 900)), elements=st.integers(-3, 3)),
    k=st.integers(1, 6),
)
def test_the_best_are_those_of_a_stable_sort(scores: np.ndarray, k: int) -> None:
    """Integers, so that ties are everywhere."""
    k = min(k, scores.shape[1])
    places, values = (tensor.numpy() for tensor in best(tf.constant(scores), scores.shape[1], k))
    wanted = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(places, wanted)
    np.testing.assert_array_equal(values, np.take_along_axis(scores, wanted, axis=1))


def test_where_everything_is_hidden_nothing_is_found() -> None:
    scores = np.full((1, 500), UNAVAILABLE, np.float32)
    assert (best(tf.constant(scores), 500, 3)[1].numpy() == np.float32(UNAVAILABLE)).all()


@pytest.mark.parametrize("rows", [1, 7, 5000])
@pytest.mark.parametrize(("made", "error"), [(Float16Table, 2**-11), (Int8Table, 1 / 254)])
def test_a_table_of_fewer_bits_is_off_by_a_rounding(
    rows: int, made: type, error: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.bundle.quantization._SLICE_BYTES", 4 * 9 * 100)  # so that there are several slices
    random = np.random.default_rng(1)
    values = random.normal(0, random.uniform(0.01, 100, (rows, 1)), (rows, 9)).astype(np.float32)
    values[0] = 0.0
    table = made(values)
    every = table(tf.range(rows)).numpy()
    scale = np.abs(values).max(axis=1, keepdims=True)
    assert (np.abs(every - values) <= error * 1.01 * scale).all()
    query = random.normal(0, 1, (3, 9)).astype(np.float32)
    np.testing.assert_allclose(table.product(tf.constant(query)), query @ every.T, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(("count", "lists"), [(0, 5), (1, 5), (3, 5), (400, 1), (400, 20)])
def test_every_vector_is_in_one_list(count: int, lists: int) -> None:
    vectors = np.random.default_rng(1).normal(size=(count, 4)).astype(np.float32)
    clusters = cluster(vectors, lists)
    assert len(clusters.centres) == len(clusters.starts) - 1 == max(1, min(lists, count))
    assert sorted(clusters.order.tolist()) == list(range(count))
    assert (clusters.starts[0], clusters.starts[-1]) == (0, count)
    assert (np.diff(clusters.starts) >= 0).all()


def test_equal_vectors_do_not_end_the_search_for_centres() -> None:
    assert cluster(np.ones((300, 3), np.float32), 10).starts[-1] == 300


def test_lists_hold_what_lies_together() -> None:
    random = np.random.default_rng(1)
    topics = random.normal(size=(8, 16)).astype(np.float32)
    topic = random.integers(0, 8, 800)
    vectors = topics[topic] + random.normal(0, 0.05, (800, 16)).astype(np.float32)
    clusters = cluster(vectors, 16)
    mixed = [
        len(set(topic[clusters.order[at:end]])) > 1
        for at, end in zip(clusters.starts[:-1], clusters.starts[1:], strict=True)
    ]
    assert sum(mixed) <= 1


@pytest.mark.parametrize("exclude_seen", [True, False])
def test_an_index_that_looks_at_all_lists_is_exact(tmp_path: Path, exclude_seen: bool) -> None:
    shop, twin = make_shop(300, 5, dimension=4), make_shop(300, 5, dimension=4)
    ask = loaded(export(shop, tmp_path / "bundle", 10, IndexSettings("approximate", lists=12, probes=12), exclude_seen))
    history = [[b"item %d" % n for n in range(0, 290, 3)], [b""], [b"item 1", b"stranger"]]
    users = [b"user 1", b"nobody", b""]
    answer = ask("serving_default", user_id=users, history=history)
    of_all = twin.scores(users, history)
    for row, seen in enumerate(history):
        wanted = twin.best(of_all[row], seen if exclude_seen else ())[:10]
        got = answered(answer, row)
        np.testing.assert_allclose([score for score, _ in got], [score for score, _ in wanted], rtol=1e-4, atol=1e-5)
        assert {item for _, item in got} == {item for _, item in wanted}


def test_an_index_that_looks_at_few_lists_leaves_out_what_is_excluded_and_pads(tmp_path: Path) -> None:
    shop = make_shop(60, 5, dimension=4)
    ask = loaded(export(shop, tmp_path / "bundle", 50, IndexSettings("approximate", lists=30, probes=2)))
    plain = answered(ask("serving_default", user_id=[b"user 1"], history=[[b""]]), 0)
    assert 0 < len(plain) < 50
    twin = make_shop(60, 5, dimension=4)
    scores = {item: score for score, item in twin.best(twin.scores([b"user 1"], [[]])[0], ())}
    np.testing.assert_allclose([score for score, _ in plain], [scores[item] for _, item in plain], rtol=1e-4)
    left = ask(
        "recommend",
        user_id=[b"user 1"],
        history=[[b""]],
        exclude=[[item for _, item in plain[:2]]],
        candidates=[[]],
        k=np.zeros(1, np.int32),
    )
    assert [item for _, item in answered(left, 0)] == [item for _, item in plain[2:]]


@pytest.mark.parametrize("table", ["float16", "int8"])
@pytest.mark.parametrize(
    "type_", ["two_tower", pytest.param("sasrec", marks=[pytest.mark.slow, pytest.mark.exhaustive])]
)
def test_a_table_of_fewer_bits_takes_the_place_of_the_trained_one(tmp_path: Path, table: str, type_: str) -> None:
    """In scores, in histories, and on the disk."""
    shop = make_shop(2000, 5, type_, dimension=32)
    small = export(shop, tmp_path / "small", 10, IndexSettings(table=table))
    full = export(make_shop(2000, 5, type_, dimension=32), tmp_path / "full", 10)
    size = {folder: sum(path.stat().st_size for path in (folder / "variables").iterdir()) for folder in (small, full)}
    saved = 2000 * 32 * (4 - np.dtype(table).itemsize)
    assert size[full] - size[small] > 0.9 * saved
    users, history = [b"user 1", b"user 2"], [[b"item 3", b"item 5"], [b"item 8"]]
    answers = {folder: loaded(folder)("serving_default", user_id=users, history=history) for folder in (small, full)}
    np.testing.assert_allclose(answers[small]["scores"], answers[full]["scores"], rtol=0.05, atol=0.05)
    assert (answers[small]["scores"] != answers[full]["scores"]).any()


@pytest.mark.parametrize(
    ("type_", "index", "words"),
    [
        ("ranking", IndexSettings(table="int8"), "table` can be int8 only where scores come from item vectors"),
        ("ranking", IndexSettings("approximate"), "type` can be approximate only where .* scores are no dot product"),
        ("sasrec", IndexSettings("approximate"), "whose scores add to a dot product what was counted"),
    ],
)
def test_what_a_model_has_no_room_for_is_refused(type_: str, index: IndexSettings, words: str) -> None:
    shop = make_shop(20, 5, type_, dimension=4)
    shop.model.freeze()
    with pytest.raises(IndexSettingsError, match=words):
        Signatures(shop.model, shop.catalogue, 5, 5, True, index, "shop")


@pytest.mark.parametrize("type_", ["two_tower", "sasrec", "ranking"])
def test_an_exact_request_makes_no_copy_of_the_catalogue(tmp_path: Path, type_: str) -> None:
    """No operation takes as much memory as the item table has, whichever signatures were asked before."""
    params = {"hidden": (4,)} if type_ == "ranking" else {"neighbours": 2} if type_ == "sasrec" else {}
    shop = make_shop(4000, 5, type_, dimension=128, **params)
    folder = export(shop, tmp_path / "bundle", 5)
    requests = read_warm_up(folder)
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        signatures = SavedModelLoader(str(folder)).load(session, ["serve"]).signature_def
        for name, inputs in [*requests, requests[0]]:
            record = tf.compat.v1.RunMetadata()
            session.run(
                [output.name for output in signatures[name].outputs.values()],
                {signatures[name].inputs[key].name: value for key, value in inputs.items()},
                options=tf.compat.v1.RunOptions(trace_level=tf.compat.v1.RunOptions.FULL_TRACE),
                run_metadata=record,
            )
    taken = {
        node.node_name: max((memory.total_bytes for memory in node.memory), default=0)
        for device in record.step_stats.dev_stats
        for node in device.node_stats
    }
    assert any("ReadVariableOp" in node for node in taken)
    assert max(taken.values()) < 4000 * 128 * 4 / 4, max(taken, key=lambda node: taken[node])
