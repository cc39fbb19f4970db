"""The vocabulary's promises: a row never moves, every admitted id has one, and the serving graph agrees."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.ids import hash_buckets
from trainer.vocabulary import Vocabulary, read_header

NASTY = [
    b"",
    b"\0",
    b"a\0",
    b"a",
    b"a,b",
    b'"q"',
    b"line\nbreak",
    "🎬".encode(),
    b"\xff\xfe",
    b"x" * 10_000,
    b"007",
    b"7",
]

some_ids = st.sampled_from(NASTY) | st.binary(max_size=3)
batches = st.lists(st.lists(some_ids, max_size=12), max_size=5)


def grown(batches: list[list[bytes]], min_count: int = 1, oov_rows: int = 2) -> Vocabulary:
    vocabulary = Vocabulary.empty(oov_rows)
    for span, ids in enumerate(batches):
        vocabulary = vocabulary.grow(ids, span, min_count, half_life=7.0)
    return vocabulary


@given(batches, st.integers(1, 3), st.integers(1, 3))
def test_a_row_never_changes(batches: list[list[bytes]], min_count: int, oov_rows: int) -> None:
    vocabulary, rows = Vocabulary.empty(oov_rows), {}
    for span, ids in enumerate(batches):
        vocabulary = vocabulary.grow(ids, span, min_count, half_life=7.0)
        now = dict(zip(vocabulary.ids.to_pylist(), vocabulary.lookup(vocabulary.ids).tolist(), strict=True))
        assert now.items() >= rows.items()
        assert sorted(now.values()) == list(range(vocabulary.first_row, vocabulary.size))
        rows = now


@given(batches, st.lists(st.lists(some_ids, max_size=4), max_size=5), st.integers(1, 3))
def test_to_admit_an_id_moves_none_and_changes_no_count(
    batches: list[list[bytes]], listed: list[list[bytes]], min_count: int
) -> None:
    plain = with_listed = Vocabulary.empty(2)
    admitted: set[bytes] = set()
    for span, ids in enumerate(batches):
        plain, before = plain.grow(ids, span, min_count, half_life=7.0), with_listed.ids.to_pylist()
        named = listed[span] if span < len(listed) else []
        with_listed = with_listed.grow(ids, span, min_count, half_life=7.0).admit(named, span)
        admitted |= {*named}
        now = with_listed.ids.to_pylist()
        assert now[: len(before)] == before
        assert len(set(now)) == len(now)
        assert set(now) == {*plain.ids.to_pylist()} | admitted
        every = [*now, *plain.pending["id"].to_pylist()]
        assert with_listed.trained_counts(every).tolist() == plain.trained_counts(every).tolist()
        unmet = with_listed.counts == 0
        assert (with_listed.first_span[unmet] == -1).all()
        assert (with_listed.first_span[~unmet] >= 0).all()
        assert with_listed.rows_of([b"never seen"], 7).tolist() == [7]


@given(batches, st.integers(1, 3))
def test_admission_is_by_the_count_over_all_spans(batches: list[list[bytes]], min_count: int) -> None:
    vocabulary = grown(batches, min_count)
    times = Counter(id_ for ids in batches for id_ in ids)
    assert set(vocabulary.ids.to_pylist()) == {id_ for id_, count in times.items() if count >= min_count}
    assert len(vocabulary.pending) + len(vocabulary.ids) == len(times)
    known = list(times)
    assert vocabulary.trained_counts(known).tolist() == [times[id_] for id_ in known]
    assert dict(zip(vocabulary.ids.to_pylist(), vocabulary.counts.tolist(), strict=True)).items() <= times.items()


@given(st.lists(some_ids, max_size=20), st.integers(0, 20), st.integers(1, 3))
def test_split_batches_of_a_span_admit_the_same(ids: list[bytes], cut: int, min_count: int) -> None:
    at_once = Vocabulary.empty(1).grow(ids, 5, min_count, 7.0)
    in_two = Vocabulary.empty(1).grow(ids[:cut], 5, min_count, 7.0).grow(ids[cut:], 5, min_count, 7.0)
    assert set(at_once.ids.to_pylist()) == set(in_two.ids.to_pylist())
    assert at_once.trained_counts(ids).tolist() == in_two.trained_counts(ids).tolist()
    by_id = [dict(zip(v.ids.to_pylist(), v.recent.tolist(), strict=True)) for v in (at_once, in_two)]
    assert by_id[0] == by_id[1]


@given(st.lists(some_ids, max_size=20), st.integers(1, 3))
def test_counted_ids_grow_it_as_the_ids_themselves(ids: list[bytes], min_count: int) -> None:
    times = Counter(ids)
    counted = Vocabulary.empty(1).grow(list(times), 0, min_count, 7.0, counts=list(times.values()))
    assert counted.fingerprint == Vocabulary.empty(1).grow(ids, 0, min_count, 7.0).fingerprint


@given(batches, st.integers(1, 3))
def test_lookup_and_ids_of_are_inverse(batches: list[list[bytes]], min_count: int) -> None:
    vocabulary = grown(batches, min_count)
    rows = np.arange(vocabulary.size)
    ids = vocabulary.ids_of(rows)
    assert ids.slice(0, vocabulary.first_row).null_count == vocabulary.first_row
    admitted = ids.slice(vocabulary.first_row)
    assert vocabulary.lookup(admitted).tolist() == rows[vocabulary.first_row :].tolist()


@given(batches=batches, min_count=st.integers(1, 3))
def test_save_and_load(tmp_path_factory: pytest.TempPathFactory, batches: list[list[bytes]], min_count: int) -> None:
    folder, vocabulary = tmp_path_factory.mktemp("vocabulary"), grown(batches, min_count)
    vocabulary.save(folder, "items")
    loaded = Vocabulary.load(folder, "items")
    assert loaded.fingerprint == vocabulary.fingerprint
    assert (loaded.oov_rows, loaded.span) == (vocabulary.oov_rows, vocabulary.span)
    for name in ("counts", "recent", "first_span", "last_span"):
        assert getattr(loaded, name).tolist() == getattr(vocabulary, name).tolist()
    assert loaded.pending.equals(vocabulary.pending)
    assert loaded.grow([b"later"], 99, 2, 7.0).fingerprint == vocabulary.grow([b"later"], 99, 2, 7.0).fingerprint
    assert read_header(folder, "items").size == vocabulary.size
    assert sorted(path.name for path in folder.iterdir()) == ["items.parquet", "items_pending.parquet"]


def test_the_files_are_as_other_rooms_read_them(tmp_path: Path) -> None:
    grown([[b"b", b"a", b"b", b"c"], [b"a"]], min_count=2).save(tmp_path, "keys")
    table = pq.read_table(tmp_path / "keys.parquet")
    assert table.schema.names == ["id", "count", "recent", "first_span", "last_span"]
    assert table["id"].to_pylist() == [b"b", b"a"]
    assert table["first_span"].to_pylist() == [0, 0]
    assert table["last_span"].to_pylist() == [0, 1]
    assert pq.read_table(tmp_path / "keys_pending.parquet").select(["id", "count"]).to_pylist() == [
        {"id": b"c", "count": 1}
    ]


def test_rows_are_given_in_the_order_of_first_occurrence() -> None:
    vocabulary = grown([[b"c", b"a", b"c", b"b"], [b"z", b"a", b"y"]])
    assert vocabulary.ids.to_pylist() == [b"c", b"a", b"b", b"z", b"y"]


def test_unknown_ids_fall_where_the_serving_graph_puts_them() -> None:
    from trainer.keras2 import tf

    vocabulary = Vocabulary.empty(7).grow([b"known"], 0, 1, 7.0)
    unknown = [*NASTY, "Zürich".encode()]
    expected = tf.strings.to_hash_bucket_fast(tf.constant(unknown), 7).numpy() + 1
    assert vocabulary.lookup(unknown).tolist() == expected.tolist()
    assert len(set(expected.tolist())) > 1
    assert vocabulary.lookup([b"known"]).tolist() == [8]
    assert vocabulary.lookup(["Zürich"]).tolist() == expected[-1:].tolist()


def test_ids_that_differ_only_in_nuls_zeros_or_case_are_different() -> None:
    ids = [*NASTY, b"A", b"a\0\0"]
    vocabulary = grown([ids])
    assert vocabulary.ids.to_pylist() == ids
    assert vocabulary.lookup(np.array(ids, object)).tolist() == list(range(3, 3 + len(ids)))
    chunks = pa.chunked_array([pa.array(ids[:4], pa.binary()), pa.array(ids[4:], pa.large_binary()).cast(pa.binary())])
    assert vocabulary.lookup(chunks).tolist() == vocabulary.lookup(ids).tolist()


def test_few_ids_are_found_in_a_large_vocabulary() -> None:
    ids = [b"%d" % number for number in range(1000)]
    vocabulary = grown([ids], oov_rows=1)
    assert vocabulary.lookup([b"999", b"none", b"0", b"999"]).tolist() == [1001, 1, 2, 1001]
    assert vocabulary.trained_counts([b"none", b"5"]).tolist() == [0, 1]


def test_recent_counts_halve_with_their_half_life() -> None:
    vocabulary = Vocabulary.empty(1).grow([b"old", b"old"], 10, 1, half_life=2.0).grow([b"new"], 14, 1, half_life=2.0)
    assert vocabulary.recent.tolist() == [0.5, 1.0]
    assert vocabulary.counts.tolist() == [2, 1]


def test_pending_counts_decay_until_admission() -> None:
    vocabulary = Vocabulary.empty(1).grow([b"a"], 0, 2, half_life=1.0).grow([b"a"], 1, 2, half_life=1.0)
    assert vocabulary.recent.tolist() == [1.5]
    assert vocabulary.first_span.tolist() == [0]


def test_growing_leaves_the_old_one_as_it_was() -> None:
    before = grown([[b"a", b"b"]])
    counts, fingerprint = before.counts.copy(), before.fingerprint
    before.grow([b"a", b"c"], 3, 1, 7.0)
    assert before.counts.tolist() == counts.tolist()
    assert before.recent.tolist() == [1.0, 1.0]
    assert (before.fingerprint, before.size) == (fingerprint, 5)


def test_the_fingerprint_tells_whether_rows_agree() -> None:
    assert grown([[b"a", b"b"]]).fingerprint == grown([[b"a"], [b"b", b"a"]]).fingerprint
    others = [grown([[b"b", b"a"]]), grown([[b"ab"]]), grown([[b"a", b"b"]], oov_rows=3), grown([[b"a", b"b", b""]])]
    assert len({other.fingerprint for other in [*others, grown([[b"a", b"b"]])]}) == 5


def test_the_fingerprint_does_not_depend_on_how_the_ids_are_held() -> None:
    ids = pa.array([b"x", b"a", b"bb", b""], pa.binary())
    parts = Vocabulary.empty(1).grow(ids.slice(1), 0, 1, 7.0)
    assert parts.fingerprint == Vocabulary.empty(1).grow([b"a", b"bb", b""], 0, 1, 7.0).fingerprint


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Vocabulary.empty(0), ValueError, r"`oov_rows` must be at least 1\. Received: 0"),
        (lambda: grown([[b"a"]]).lookup([b"a", None]), ValueError, r"missing values\. Received: 1 of 2"),
        (lambda: grown([[b"a"]]).lookup(np.array([b"a\0"])), ValueError, "drop trailing NULs"),
        (lambda: grown([[b"a"]]).ids_of([4]), IndexError, r"in \[0, 4\)\. Received: 4"),
        (lambda: grown([[b"a"]]).ids_of([-1]), IndexError, r"Received: -1"),
        (lambda: grown([[], [b"a"]]).grow([], 0, 1, 7.0), ValueError, r"must not be before .* 1\. Received: 0"),
        (lambda: grown([]).grow([], 0, 0, 7.0), ValueError, "`min_count` must be at least 1"),
        (lambda: grown([]).grow([], 0, 1, 0.0), ValueError, "`half_life` must be above 0"),
    ],
)
def test_what_it_refuses(call, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_another_file_is_no_vocabulary(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": [b"a"]}), tmp_path / "items.parquet")
    with pytest.raises(ValueError, match="must be a vocabulary written by"):
        Vocabulary.load(tmp_path, "items")


def test_a_failed_save_leaves_the_old_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grown([[b"a"]]).save(tmp_path, "items")

    def full(table: pa.Table, path: Path, **_: object) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(OSError, match="No space left"):
        grown([[b"a", b"b"]]).save(tmp_path, "items")
    assert Vocabulary.load(tmp_path, "items").ids.to_pylist() == [b"a"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["items.parquet", "items_pending.parquet"]


def test_it_is_light_to_import_and_hashes_one_row_without_tensorflow() -> None:
    code = (
        "import sys; from trainer.vocabulary import Vocabulary; "
        "print(Vocabulary.empty(1).grow([b'a'], 0, 1, 7.0).lookup([b'a', b'x']).tolist(), 'tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[2, 1] False"


def test_hash_buckets_of_nothing() -> None:
    assert hash_buckets([], 5).tolist() == []
