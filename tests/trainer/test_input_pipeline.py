"""Reading sequences and held-out positions, and what a model gets of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.input_pipeline import Positions, Sequences, concatenate, read_held_out, read_sequences
from trainer.keras2 import tf

FIELDS = ("items", "timestamps", "weights", "key", "first_new", "first_today")


@st.composite
def some_sequences(draw: st.DrawFn) -> list[dict]:
    rows = []
    for _ in range(draw(st.integers(0, 6))):
        items = draw(st.lists(st.integers(1, 50), max_size=8))
        first_new = draw(st.integers(0, len(items)))
        rows.append(
            {
                "key": draw(st.integers(1, 9)),
                "items": items,
                "timestamps": [draw(st.integers(0, 10**12)) for _ in items],
                "weights": [draw(st.floats(0, 5, width=32)) for _ in items],
                "first_new": first_new,
                "first_today": draw(st.integers(first_new, len(items))),
            }
        )
    return rows


def as_sequences(rows: list[dict]) -> Sequences:
    def flat(name: str, dtype: type) -> np.ndarray:
        return np.array([value for row in rows for value in row[name]], dtype)

    def column(name: str) -> np.ndarray:
        return np.array([row[name] for row in rows], np.int64)

    return Sequences(
        items=flat("items", np.int64),
        timestamps=flat("timestamps", np.int64),
        weights=flat("weights", np.float32),
        splits=np.cumsum([0, *(len(row["items"]) for row in rows)]).astype(np.int64),
        key=column("key"),
        first_new=column("first_new"),
        first_today=column("first_today"),
    )


def as_rows(sequences: Sequences) -> list[dict]:
    bounds = list(zip(sequences.splits[:-1], sequences.splits[1:], strict=True))
    of_event = {name: [getattr(sequences, name)[a:b].tolist() for a, b in bounds] for name in FIELDS[:3]}
    of_sequence = {name: getattr(sequences, name).tolist() for name in FIELDS[3:]}
    columns = {**of_event, **of_sequence}
    return [{name: columns[name][at] for name in columns} for at in range(len(sequences))]


def listed(positions: Positions) -> list[tuple]:
    return [
        (key, positions.items[begin:end].tolist(), target, weight, timestamp)
        for key, begin, end, target, weight, timestamp in zip(
            positions.key.tolist(),
            positions.begin.tolist(),
            positions.end.tolist(),
            positions.target.tolist(),
            positions.weight.tolist(),
            positions.timestamp.tolist(),
            strict=True,
        )
    ]


def expected(rows: list[dict], first: str) -> list[tuple]:
    return [
        (row["key"], row["items"][:at], row["items"][at], row["weights"][at], row["timestamps"][at])
        for row in rows
        for at in range(row[first], len(row["items"]))
    ]


@given(some_sequences())
def test_every_new_event_is_one_position_with_all_that_came_before_it(rows: list[dict]) -> None:
    sequences = as_sequences(rows)
    assert listed(sequences.positions()) == expected(rows, "first_new")
    assert listed(sequences.positions(today_only=True)) == expected(rows, "first_today")
    assert sequences.new_events == len(sequences.positions())


@given(some_sequences(), st.randoms(use_true_random=False))
def test_take_keeps_the_order_asked_for(rows: list[dict], random) -> None:
    index = [random.randrange(len(rows)) for _ in range(random.randrange(2 * len(rows) + 1))] if rows else []
    assert as_rows(as_sequences(rows).take(np.array(index, np.int64))) == [rows[at] for at in index]


@given(st.lists(some_sequences(), max_size=4))
def test_concatenate_is_one_part_after_the_other(parts: list[list[dict]]) -> None:
    joined = concatenate([as_sequences(part) for part in parts])
    assert as_rows(joined) == [row for part in parts for row in part]
    assert {name: getattr(joined, name).dtype for name in FIELDS} == {
        name: np.float32 if name == "weights" else np.int64 for name in FIELDS
    }


@given(some_sequences())
def test_positions_can_be_chosen(rows: list[dict]) -> None:
    positions = as_sequences(rows).positions()
    index = np.arange(len(positions))[::-2]
    assert listed(positions.take(index)) == [listed(positions)[at] for at in index]


@pytest.mark.parametrize("length", [1, 3, 10])
def test_a_batch_holds_the_last_items_of_each_history_at_the_right(length: int) -> None:
    rows = [
        {"key": 7, "items": [11, 12, 13, 14], "timestamps": [1, 2, 3, 4], "weights": [1, 2, 3, 4]},
        {"key": 8, "items": [21, 22], "timestamps": [5, 6], "weights": [5, 6]},
    ]
    positions = as_sequences([{**row, "first_new": 0, "first_today": 0} for row in rows]).positions()
    batches = list(positions.dataset(4, length).as_numpy_iterator())
    assert [len(batch["item"]) for batch in batches] == [4, 2]
    joined = {name: np.concatenate([batch[name] for batch in batches]).tolist() for name in batches[0]}
    assert joined["key"] == [7, 7, 7, 7, 8, 8]
    assert joined["item"] == [11, 12, 13, 14, 21, 22]
    assert joined["weight"] == [1, 2, 3, 4, 5, 6]
    before = [[], [11], [11, 12], [11, 12, 13], [], [21]]
    assert joined["history"] == [([0] * length + items)[-length:] for items in before]


def test_a_batch_has_the_types_that_models_and_signatures_ask_for() -> None:
    nothing = as_sequences([]).positions()
    spec = nothing.dataset(4, 5).element_spec
    assert {name: (of_spec.shape.as_list(), of_spec.dtype) for name, of_spec in spec.items()} == {
        "key": ([None], tf.int64),
        "history": ([None, 5], tf.int64),
        "item": ([None], tf.int64),
        "weight": ([None], tf.float32),
    }
    assert list(nothing.dataset(4, 5)) == []


def test_shuffling_is_another_order_each_epoch_and_the_same_for_the_same_seed() -> None:
    row = {"key": 1, "items": list(range(1, 61)), "timestamps": [0] * 60, "weights": [1] * 60}
    positions = as_sequences([{**row, "first_new": 0, "first_today": 0}]).positions()

    def epochs(seed: int) -> list[list[int]]:
        tf.random.set_seed(5)
        data = positions.dataset(7, 3, shuffle_seed=seed)
        return [np.concatenate([batch["item"] for batch in data.as_numpy_iterator()]).tolist() for _ in range(2)]

    first, second = epochs(1)
    assert sorted(first) == sorted(second) == row["items"]
    assert first != row["items"]
    assert first != second
    assert epochs(1) == [first, second]
    assert epochs(2)[0] != first


def ints(values: list[int]) -> tf.train.Feature:
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


def floats(values: list[float]) -> tf.train.Feature:
    return tf.train.Feature(float_list=tf.train.FloatList(value=values))


def texts(value: bytes) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


def write(path: Path, examples: list[dict[str, tf.train.Feature]]) -> str:
    with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
        for feature in examples:
            writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())
    return str(path)


@settings(max_examples=25)
@given(rows=st.lists(some_sequences(), min_size=1, max_size=3))
def test_sequences_are_read_as_they_were_written(tmp_path_factory: pytest.TempPathFactory, rows: list) -> None:
    folder = tmp_path_factory.mktemp("sequences")
    files = [
        write(
            folder / f"{number}.gz",
            [
                {
                    "key": texts(b"\xff,\n"),
                    "key_row": ints([row["key"]]),
                    "items": ints(row["items"]),
                    "timestamps": ints(row["timestamps"]),
                    "weights": floats(row["weights"]),
                    "first_new": ints([row["first_new"]]),
                    "first_today": ints([row["first_today"]]),
                }
                for row in part
            ],
        )
        for number, part in enumerate(rows)
    ]
    wanted = as_sequences([row for part in rows for row in part])
    sequences = read_sequences(files)
    assert not sequences.query_features
    for field in dataclasses.fields(Sequences)[:-1]:
        read, written = getattr(sequences, field.name), getattr(wanted, field.name)
        np.testing.assert_array_equal(read, written)
        assert read.dtype == written.dtype


def test_held_out_positions_are_read_with_their_slices(tmp_path: Path) -> None:
    def example(history: list[int], item: int, weight: float, slices: tuple[bytes, bytes]) -> dict:
        return {
            "key": texts(b"k"),
            "key_row": ints([item + 1]),
            "history": ints(history),
            "item": texts(b"i"),
            "item_row": ints([item]),
            "timestamp": ints([item * 1000]),
            "weight": floats([weight]),
            "label": floats([1.0]),
            "item_slice": texts(slices[0]),
            "key_slice": texts(slices[1]),
        }

    files = [
        write(tmp_path / "a.gz", [example([5, 6], 4, 0.5, (b"new", b"warm")), example([], 9, 2.0, (b"cold", b"new"))]),
        write(tmp_path / "b.gz", []),
        write(tmp_path / "c.gz", [example([7], 3, 1.0, (b"warm", b"cold"))]),
    ]
    positions, slices = read_held_out(files)
    assert listed(positions) == [(5, [5, 6], 4, 0.5, 4000), (10, [], 9, 2.0, 9000), (4, [7], 3, 1.0, 3000)]
    assert slices["item_slice"].tolist() == [b"new", b"cold", b"warm"]
    assert slices["key_slice"].tolist() == [b"warm", b"new", b"cold"]


def test_no_files_and_empty_files_are_no_positions(tmp_path: Path) -> None:
    for files in ([], [write(tmp_path / "empty.gz", [])]):
        sequences = read_sequences(files)
        assert (len(sequences), sequences.new_events, len(sequences.positions())) == (0, 0, 0)
        positions, slices = read_held_out(files)
        assert len(positions) == len(slices["item_slice"]) == 0
        assert list(positions.dataset(2, 3)) == []
