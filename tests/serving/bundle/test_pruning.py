"""Pruned weights: which go, that they come back, what is saved of a table, and that the gate sees what is served."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as np_st

from serving.bundle import Manifest
from serving.bundle.index_settings import IndexSettings, Precision
from serving.bundle.packed_table import PackedTable
from serving.bundle.pruning import largest, largest_of_rows, pruned
from serving.bundle.quantization import served_table
from tests.serving.recommenders import FIRST, HISTORY, export, loaded, make_shop
from trainer.keras2 import tf
from trainer.models.pruned_weights import tables_and_kernels

WEIGHTS = np_st.arrays(
    np.float32, st.tuples(st.integers(0, 6), st.integers(1, 19)), elements=st.floats(-9, 9, width=32)
)


@given(values=WEIGHTS, share=st.floats(0, 0.99))
def test_of_each_row_the_smallest_go_and_one_stays(values: np.ndarray, share: float) -> None:
    kept = largest_of_rows(values, share)
    width = values.shape[1]
    assert (kept.sum(axis=1) == max(1, width - round(share * width))).all()
    size = np.abs(values)
    for row, stays in zip(size, kept, strict=True):
        assert row[stays].min() >= row[~stays].max(initial=0.0)


@given(values=WEIGHTS, share=st.floats(0, 0.99))
def test_of_a_kernel_the_smallest_go(values: np.ndarray, share: float) -> None:
    kept = largest(values, share)
    assert kept.shape == values.shape
    assert (~kept).sum() == int(share * values.size)
    size = np.abs(values)
    assert size[kept].min(initial=np.inf) >= size[~kept].max(initial=0.0)


@pytest.mark.parametrize("kind", [np.float32, np.float16, np.int8])
@pytest.mark.parametrize(("rows", "width", "share"), [(0, 4, 0.5), (1, 1, 0.9), (7, 9, 0.5), (301, 16, 0.8)])
def test_a_packed_table_reads_as_the_pruned_one(
    kind: type, rows: int, width: int, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.bundle.packed_table._SLICE", 16 * 50)  # so that there are several slices
    values = np.random.default_rng(1).integers(-100, 100, (rows, width)).astype(kind)
    kept = largest_of_rows(values, share)
    np.testing.assert_array_equal(PackedTable(values, kept).read_value(), values * kept)


def test_rows_that_keep_unequally_many_can_t_be_packed() -> None:
    with pytest.raises(ValueError, match=r"As many weights of each row .* Received: 1 to 2"):
        PackedTable(np.ones((2, 2), np.float32), np.array([[True, True], [True, False]]))


@pytest.mark.parametrize("table", ["float32", "float16", "int8"])
def test_a_pruned_table_is_the_trained_one_without_its_smallest_weights(table: Precision) -> None:
    values = np.random.default_rng(1).normal(size=(40, 16)).astype(np.float32)
    kept = largest_of_rows(values, 0.75)
    served = served_table(tf.Variable(values), IndexSettings(table=table, pruning=0.75))
    assert served is not None
    assert isinstance(served.values, PackedTable)
    every = served(tf.range(40)).numpy()
    np.testing.assert_allclose(every, values * kept, atol=0.0 if table == "float32" else 0.02)
    query = np.random.default_rng(2).normal(size=(3, 16)).astype(np.float32)
    np.testing.assert_allclose(served.product(tf.constant(query)), query @ every.T, rtol=1e-4, atol=1e-4)


def test_what_packing_would_make_larger_is_not_packed() -> None:
    served = served_table(tf.Variable(np.ones((4, 16), np.float32)), IndexSettings(table="int8", pruning=0.1))
    assert served is not None
    assert isinstance(served.values, tf.Variable)


def test_the_model_has_all_its_weights_again_whatever_happens() -> None:
    table, kernel = tf.Variable([[1.0, -2.0], [0.5, 0.25]]), tf.Variable([[1.0, 2.0], [-3.0, 4.0]])
    with pytest.raises(KeyError), pruned([table], [kernel], 0.5):  # noqa: PT012
        np.testing.assert_array_equal(table, [[0, -2], [0.5, 0]])
        np.testing.assert_array_equal(kernel, [[0, 0], [-3, 4]])
        raise KeyError
    np.testing.assert_array_equal(table, [[1, -2], [0.5, 0.25]])
    np.testing.assert_array_equal(kernel, [[1, 2], [-3, 4]])


def test_item_tables_and_kernels_are_pruned_and_nothing_else_is() -> None:
    model = make_shop(20, 5, "sasrec", dimension=8, neighbours=2).model
    tables, kernels = tables_and_kernels(model)
    assert [id(table) for table in tables] == [id(model.item_embedding.embeddings)]
    assert len(kernels) >= 6  # attention, inner layers and the head's two
    others = {id(of) for of in model.variables} - {id(of) for of in (*tables, *kernels)}
    assert id(model.places) in others
    assert all("kernel" in of.name for of in kernels)
    ranked, _ = tables_and_kernels(make_shop(20, 5, "ranking", dimension=8).model)
    assert all(of.shape[1] > 1 for of in ranked)  # biases are tables of one number an item


def test_the_gate_judges_what_is_served(tmp_path: Path) -> None:
    """The trained model finds each of these items first, by their choice; what is left of it does not."""
    shop, twin = make_shop(400, 5, dimension=16), make_shop(400, 5, dimension=16)
    kept = largest_of_rows(shop.model.item_embedding.embeddings.numpy(), 0.8)
    folder = export(shop, tmp_path / "bundle", 10, IndexSettings(pruning=0.8))
    keys, history = np.full(64, FIRST), np.zeros((64, HISTORY), np.int64)
    history[:, -1] = np.arange(FIRST, FIRST + 64)
    scores = np.array(twin.model.score_all(tf.constant(keys), tf.constant(history)))
    scores[:, :FIRST] = -np.inf
    np.put_along_axis(scores, history[:, -1:], -np.inf, axis=1)
    best = scores.argmax(axis=1)
    ask = loaded(folder)
    judged = ask("evaluate_rows", key=keys, history=history, item=best, weight=np.ones(64, np.float32))
    assert judged["recall"].mean() < 0.9
    # And it is the same as the pruned model's by hand, so that it is pruning and nothing else.
    twin.model.item_embedding.embeddings.assign(twin.model.item_embedding.embeddings.numpy() * kept)
    by_hand = twin.model.evaluate_positions(*map(tf.constant, (keys, history, best, np.ones(64, np.float32))), 5, True)
    np.testing.assert_allclose(judged["recall"], by_hand["recall"])
    # It is also smaller on the disk by what it lacks, but for a bit a weight.
    tables = Manifest.read(folder).about["tables"]
    assert tables["uint8"] == (FIRST + 400) * 16 // 8
    size = sum(path.stat().st_size for path in (folder / "variables").iterdir())
    full = (FIRST + 400) * 16 * 4
    assert size < sum(tables.values()) + 8000
    assert tables["float32"] < full * 0.2 + 30_000
