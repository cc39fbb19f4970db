"""Old rows and slots are carried bit for bit; new ones start where they are promised to."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from tests.trainer.small_model import HISTORY, Small
from trainer.checks.small_data import random_sequences, sequences
from trainer.input_pipeline import Sequences
from trainer.keras2 import keras, tf
from trainer.models.base import TableSizes
from trainer.optimizers import LazyAdam
from trainer.settings import NewRows
from trainer.train_state import ModelState, StateError, Trainable
from trainer.warm_start import warm_start

FIRST = 3  # padding and two out-of-vocabulary rows
SIZES = [TableSizes(items, keys, FIRST) for items, keys in ((12, 8), (13, 8), (19, 15), (30, 16))]
TABLES = {"item/embeddings": "items", "bias": "items", "popularity": "items", "key/embeddings": "keys"}
TOLD = {"popularity"}  # not trained
INITIAL = {"adagrad": {"accumulator": 0.1}, "adam": {"m": 0.0, "v": 0.0, "steps": 0.0}}


def fresh(sizes: TableSizes, optimizer: str = "adagrad", **params: int) -> Trainable:
    kind = {"adagrad": keras.optimizers.Adagrad, "adam": LazyAdam}[optimizer]
    return Trainable(Small(sizes, HISTORY, **params), kind(0.1))


def random_state(sizes: TableSizes, optimizer: str = "adagrad", **params: int) -> ModelState:
    """A state in which every number is another one."""
    state = fresh(sizes, optimizer, **params)
    random = np.random.default_rng(sizes.items)
    for variable in (*state.variables.values(), *(slot for slots in state.slots.values() for slot in slots.values())):
        variable.assign(random.normal(size=variable.shape))
    state.optimizer.iterations.assign(11)
    return state.state(sizes, learned=(1,))


def assert_carried(after: ModelState, before: ModelState) -> None:
    """Every number of `before` is in `after`, bit for bit, and each table has the rows of `after.sizes`."""
    assert after.iterations == before.iterations
    for path, old in before.weights.items():
        new = after.weights[path]
        assert len(new) == (getattr(after.sizes, TABLES[path]) if path in TABLES else len(old))
        assert new[: len(old)].tobytes() == old.tobytes()
    for path, slots in before.slots.items():
        for name, old in slots.items():
            assert after.slots[path][name][: len(old)].tobytes() == old.tobytes()


@pytest.mark.parametrize("new_rows", ["cooccurrence", "mean", "random"])
@pytest.mark.parametrize("optimizer", ["adagrad", "adam"])
def test_rows_and_slots_survive_three_growths_bit_for_bit(optimizer: str, new_rows: NewRows) -> None:
    state: ModelState | None = None
    for day, sizes in enumerate(SIZES):
        span = random_sequences(sizes, 20, seed=day)
        grown = fresh(sizes, optimizer)
        if state is not None:
            warm_start(grown, state, sizes, new_rows, span)
            carried = grown.state(sizes, state.learned)
            assert_carried(carried, state)
            for path, slots in carried.slots.items():
                for name, value in slots.items():
                    assert (value[len(state.slots[path][name]) :] == np.float32(INITIAL[optimizer][name])).all()
        learn(grown, span)
        trained = grown.state(sizes, (day,))
        if state is not None:
            assert trained.iterations > state.iterations
            for path in set(state.slots):
                assert (trained.weights[path][: len(state.weights[path])] != state.weights[path]).any()
        state = trained


def learn(trainable: Trainable, span: Sequences) -> None:
    """An epoch, without a graph to be traced."""
    variables = [variable for variable in trainable.variables.values() if variable.trainable]
    for batch in span.positions().dataset(16, HISTORY):
        with tf.GradientTape() as tape:
            loss = trainable.model.compute_loss(batch, training=True)
        trainable.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))


def mean_by_loop(rows: np.ndarray, neighbours: list[list[int]]) -> np.ndarray | None:
    """The mean over groups of rows of the mean of each group's old rows, groups without one left out."""
    means = []
    for group in neighbours:
        old = [rows[row] for row in group if FIRST <= row < len(rows)]
        if old:
            means.append(np.mean(old, axis=0, dtype=np.float64))
    return np.mean(means, axis=0) if means else None


def expected_item(rows: np.ndarray, new: int, span: Sequences) -> np.ndarray | None:
    groups = [span.items[a:b].tolist() for a, b in zip(span.splits[:-1], span.splits[1:], strict=True)]
    return mean_by_loop(rows, [group for group in groups for item in group if item == new])


def expected_key(rows: np.ndarray, new: int, span: Sequences) -> np.ndarray | None:
    pairs = list(zip(np.repeat(span.key, np.diff(span.splits)).tolist(), span.items.tolist(), strict=True))
    items = [item for key, item in pairs if key == new and item >= FIRST]
    return mean_by_loop(rows, [[key for key, other in pairs if other == item] for item in items])


@pytest.mark.parametrize("seed", range(4))
def test_a_new_row_starts_from_the_mean_of_what_it_occurs_with(seed: int) -> None:
    old, sizes = SIZES[0], SIZES[2]
    span = random_sequences(sizes, 12, seed)
    # One new item among unknown and new ones only, and one new key with an unknown item only: they meet no old row.
    lonely_item, lonely_key = sizes.items, sizes.keys
    sizes = TableSizes(sizes.items + 1, sizes.keys + 1, FIRST)
    lonely = sequences([(1, [1, lonely_item, 2], 0), (lonely_key, [1, 2], 0)])
    span = Sequences(
        **{
            name: np.concatenate([getattr(span, name), getattr(lonely, name)])
            for name in ("items", "timestamps", "weights", "key", "first_new", "first_today")
        },
        splits=np.concatenate([span.splits, span.splits[-1] + lonely.splits[1:]]),
    )
    base = random_state(old)
    grown = fresh(sizes)
    warm_start(grown, base, sizes, "cooccurrence", span)
    weights, _ = grown.read()
    by_neighbours = 0
    for path, table in TABLES.items():
        if path in TOLD:
            continue
        rows = base.weights[path]
        expected = {"items": expected_item, "keys": expected_key}[table]
        for new in range(len(rows), getattr(sizes, table)):
            mean = expected(rows, new, span)
            by_neighbours += mean is not None
            wanted = rows[FIRST:].mean(axis=0) if mean is None else mean
            np.testing.assert_allclose(weights[path][new], wanted, rtol=1e-5, atol=1e-6)
    assert by_neighbours > 6
    assert expected_item(base.weights["bias"], lonely_item, span) is None
    assert expected_key(base.weights["key/embeddings"], lonely_key, span) is None


def test_keys_without_a_row_of_their_own_do_not_make_their_items_neighbours() -> None:
    old, sizes = TableSizes(6, FIRST, FIRST), TableSizes(7, FIRST, FIRST)
    base = random_state(old)
    grown = fresh(sizes)
    warm_start(grown, base, sizes, "cooccurrence", sequences([(1, [3, 6], 0), (1, [4, 5], 0)]))
    weights, _ = grown.read()
    np.testing.assert_array_equal(weights["item/embeddings"][6], base.weights["item/embeddings"][3])


def test_mean_starts_new_rows_at_the_mean_of_the_admitted_ones() -> None:
    base, grown = random_state(SIZES[0]), fresh(SIZES[3])
    warm_start(grown, base, SIZES[3], "mean", random_sequences(SIZES[3], 9, 1))
    weights, _ = grown.read()
    for path in TABLES:
        old = base.weights[path]
        if path in TOLD:
            assert not weights[path][len(old) :].any(), "a mean of counts, or of row numbers, tells nothing"
            continue
        np.testing.assert_array_equal(
            weights[path][len(old) :], np.broadcast_to(old[FIRST:].mean(axis=0), weights[path][len(old) :].shape)
        )


def test_random_leaves_new_rows_as_the_layer_makes_them() -> None:
    base, grown = random_state(SIZES[0]), fresh(SIZES[3])
    before = {path: value.copy() for path, value in grown.read()[0].items()}
    warm_start(grown, base, SIZES[3], "random", random_sequences(SIZES[3], 9, 1))
    weights, _ = grown.read()
    for path in TABLES:
        old = len(base.weights[path])
        np.testing.assert_array_equal(weights[path][old:], before[path][old:])


@pytest.mark.parametrize("new_rows", ["cooccurrence", "mean", "random"])
def test_tables_without_any_id_yet_start_as_the_layer_makes_them(new_rows: str) -> None:
    none = TableSizes(FIRST, FIRST, FIRST)
    base, grown = random_state(none), fresh(SIZES[1])
    before = {path: value.copy() for path, value in grown.read()[0].items()}
    warm_start(grown, base, SIZES[1], new_rows, random_sequences(SIZES[1], 9, 1))
    weights, _ = grown.read()
    for path in TABLES:
        np.testing.assert_array_equal(weights[path][:FIRST], base.weights[path])
        np.testing.assert_array_equal(weights[path][FIRST:], before[path][FIRST:])


@pytest.mark.parametrize("new_rows", ["cooccurrence", "mean", "random"])
def test_an_empty_span_grows_nothing_and_breaks_nothing(new_rows: str) -> None:
    base, grown = random_state(SIZES[1]), fresh(SIZES[1])
    warm_start(grown, base, SIZES[1], new_rows, Sequences.empty())
    assert_carried(grown.state(SIZES[1], ()), base)


@pytest.mark.parametrize(
    ("base", "grown", "sizes", "message"),
    [
        (random_state(SIZES[1], dimension=4), fresh(SIZES[1]), SIZES[1], r"item/embeddings of shape \(13, 4\)"),
        (random_state(SIZES[1], hidden=1), fresh(SIZES[1]), SIZES[1], r"\['scale/layer-1/bias', .* gone"),
        (random_state(SIZES[1]), fresh(SIZES[1], hidden=1), SIZES[1], r"\['scale/layer-1/bias', .* new"),
        (
            random_state(SIZES[1]),
            fresh(SIZES[1], "adam"),
            SIZES[1],
            r"bias: m.*new.*bias: accumulator.*update.optimizer",
        ),
        (random_state(SIZES[2]), fresh(SIZES[1]), SIZES[1], "or a longer one"),
        (random_state(TableSizes(12, 8, 2)), fresh(SIZES[1]), SIZES[1], "same out-of-vocabulary rows"),
    ],
    ids=["dimension", "layer gone", "layer new", "optimizer", "shorter vocabulary", "other oov rows"],
)
def test_a_changed_model_is_refused(base: ModelState, grown: Trainable, sizes: TableSizes, message: str) -> None:
    before = {path: value.copy() for path, value in grown.read()[0].items()}
    with pytest.raises(StateError, match=message) as refusal:
        warm_start(grown, base, sizes, "cooccurrence", Sequences.empty())
    assert "do a full retrain" in str(refusal.value).lower()
    for path, value in grown.read()[0].items():
        np.testing.assert_array_equal(value, before[path])


def test_a_growing_variable_that_tables_does_not_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Small, "tables", {"item": "items", "key": "keys", "popularity": "items"})
    with pytest.raises(StateError, match="only to the variables named in `tables`"):
        warm_start(fresh(SIZES[1]), random_state(SIZES[0]), SIZES[1], "mean", Sequences.empty())


def test_a_table_of_another_length_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Small, "tables", {**Small.tables, "scale": "items"})
    with pytest.raises(StateError, match="must have a row for each of items, 13"):
        warm_start(fresh(SIZES[1]), random_state(SIZES[0]), SIZES[1], "mean", Sequences.empty())


@pytest.mark.parametrize("counted", [None, 4])
def test_a_state_of_adam_without_a_count_of_each_row_goes_on(tmp_path: Path, counted: int | None) -> None:
    """As one that was saved by an earlier version, which had one count for all."""
    saved = dataclasses.replace(random_state(SIZES[0], "adam"), counted=counted)
    for of in saved.slots.values():
        del of["steps"]
        of["v"][:1] = 0
    saved.save(tmp_path)
    grown, sizes = fresh(SIZES[1], "adam"), SIZES[1]
    warm_start(grown, ModelState.load(tmp_path), sizes, "mean", Sequences.empty())
    state = grown.state(sizes, (1,))
    for path, of in state.slots.items():
        old = len(saved.weights[path])
        assert (of["steps"][1:old] == (counted or saved.iterations)).all()
        assert not of["steps"][:1].any(), "a row without a second moment has made no step"
        assert not of["steps"][old:].any(), "a new row has made none"
    state.save(tmp_path / "again")
    again = ModelState.load(tmp_path / "again")
    np.testing.assert_array_equal(again.slots["bias"]["steps"], state.slots["bias"]["steps"])
