"""Whatever happens to a catalogue, its vectors are those of encoding all of it, and only what is new is encoded."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.item_encoder import Encodings, EncodingsError
from components.item_encoder.encodings import items_path, vector_files
from components.item_encoder.executor import catalogue_pieces
from components.item_encoder.item_shard import read_rows, update_items
from tests.components.item_encoder.catalogue_days import WIDTH, made_vector, run_shards, write_catalogue
from trainer.encoders.texts import normalize_text

ITEMS, TEXTS = (
    [f"i{number}" for number in range(8)],
    [None, "", " ", "a", " a", "b", "c d", "c  d", "e\u0301", "\u00e9"],
)
DAY = st.dictionaries(st.sampled_from(ITEMS), st.sampled_from(TEXTS))


@given(days=st.lists(st.tuples(DAY, st.integers(0, 2)), min_size=1, max_size=6), keep_unused=st.integers(0, 3))
@settings(max_examples=60)
def test_days_give_what_encoding_all_anew_gives_and_counts_are_exact(days, keep_unused):
    with tempfile.TemporaryDirectory() as name:
        base, yesterday, shards, span = Path(name), None, 1, 0
        before: dict[str, str] = {}
        last_used: dict[str, int] = {}
        for texts, doublings in days:
            span, shards = span + 1, min(8, shards * 2**doublings)
            today, encoded = run_shards(base, span, texts, shards, keep_unused, yesterday)
            normal = {item: normalize_text(text) for item, text in texts.items()}
            used = {text for text in normal.values() if text}
            held = set(last_used)
            last_used |= dict.fromkeys(used, span)
            kept = {text for text, last in last_used.items() if last == span or span - last - 1 < keep_unused}

            vectors, missing = today.vectors([*texts, "nobody's"])
            expected = [made_vector(text) if text else np.zeros(WIDTH) for text in [*normal.values(), ""]]
            np.testing.assert_array_equal(vectors, np.array(expected, np.float32))
            assert missing.tolist() == [not text for text in [*normal.values(), ""]]
            assert sorted(encoded) == sorted(used - held)
            new = [item for item, text in normal.items() if text and item not in before]
            changed = [item for item, text in normal.items() if text and item in before and before[item] != text]
            with_text = sum(bool(text) for text in normal.values())
            counts = dict(today.counts)
            assert counts.pop("files") == sum(len(vector_files(today.folder, shard)) for shard in range(shards))
            counts.pop("reused")  # the executor's own
            assert counts == {
                "items": len(texts), "texts": with_text, "missing": len(texts) - with_text, "new": len(new),
                "changed": len(changed), "removed": len(set(before) - set(normal)), "encoded": len(encoded),
                "dropped": len(set(last_used) - kept), "kept": len(kept),
            }  # fmt: skip
            last_used = {text: last_used[text] for text in kept}
            before, yesterday = normal, today


def grow(base: Path, days: int, first: int, more: int) -> list[Encodings]:
    """A catalogue that grows by `more` items a day, in one shard."""
    every: list[Encodings] = []
    for day in range(days):
        texts = {f"i{number}": f"text {number}" for number in range(first + day * more)}
        every.append(run_shards(base, day + 1, texts, 1, 5, every[-1] if every else None)[0])
    return every


def test_files_are_few_and_old_vectors_are_not_copied(tmp_path):
    days = grow(tmp_path, days=9, first=250, more=10)
    assert max(day.counts["files"] for day in days) <= 5
    first = vector_files(days[0].folder, 0)[0]
    assert all(os.path.samefile(first, vector_files(day.folder, 0)[0]) for day in days)
    written = sum(
        pq.read_metadata(file).num_rows
        for before, day in itertools.pairwise(days)
        for file in vector_files(day.folder, 0)
        if file.name not in {old.name for old in vector_files(before.folder, 0)}
    )
    assert written < 80 * 4  # each of 80 vectors at most log2(8) + 1 times


def test_a_day_without_a_change_writes_no_vector_and_shares_its_items(tmp_path):
    before, day = grow(tmp_path, days=2, first=20, more=0)
    assert os.path.samefile(items_path(before.folder, 0), items_path(day.folder, 0))
    files = zip(vector_files(before.folder, 0), vector_files(day.folder, 0), strict=True)
    assert [os.path.samefile(*same) for same in files] == [True]
    assert (day.counts["encoded"], day.counts["new"], day.counts["changed"]) == (0, 0, 0)


def test_dropped_vectors_leave_the_disk_when_they_are_more_than_half(tmp_path):
    day, _ = run_shards(tmp_path, 1, {f"i{number}": f"text {number}" for number in range(40)}, 1, 0, None)
    for span, left in ((2, 25), (3, 12)):
        day, _ = run_shards(tmp_path, span, {f"i{number}": f"text {number}" for number in range(left)}, 1, 0, day)
        stored = sum(pq.read_metadata(file).num_rows for file in vector_files(day.folder, 0))
        assert stored == {2: 40, 3: 12}[span]
    assert day.counts["dropped"] == 13


def test_a_text_that_comes_back_in_time_is_not_encoded_again(tmp_path):
    yesterday, encoded = None, []
    for span, texts in enumerate([{"a": "x"}, {"a": "y"}, {"b": "x"}, {}, {}, {}, {"c": "x"}]):
        yesterday, new = run_shards(tmp_path, span, texts, 1, 2, yesterday)
        encoded.append(new)
    assert encoded == [["x"], ["y"], [], [], [], [], ["x"]]


def test_an_earlier_day_may_be_removed(tmp_path):
    days = grow(tmp_path, days=3, first=5, more=2)
    for day in days[:-1]:
        shutil.rmtree(day.folder)
    vectors, _ = days[-1].vectors(["i0", "i8"])
    np.testing.assert_array_equal(vectors, [made_vector("text 0"), made_vector("text 8")])


def test_where_there_are_no_hard_links_files_are_copied(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError("no links here")))
    days = grow(tmp_path, days=3, first=5, more=2)
    shutil.rmtree(days[0].folder)
    np.testing.assert_array_equal(days[-1].vectors(["i0"])[0], [made_vector("text 0")])


def test_short_texts_are_encoded_first(tmp_path):
    _, encoded = run_shards(tmp_path, 1, {"a": "long text", "b": "b", "c": "a text", "d": "a"}, 1, 0, None)
    assert sorted(encoded, key=len) == encoded


@pytest.mark.parametrize("kind", [pa.string(), pa.binary(), pa.large_string(), pa.large_binary()])
def test_columns_may_be_strings_of_any_kind(tmp_path, kind):
    path = tmp_path / "catalogue.parquet"
    pq.write_table(pa.table({"item": pa.array(["007", "b"], kind), "title": pa.array(["Zoë", None], kind)}), path)
    rows = read_rows(str(path), 0, "title", "digest")
    assert rows["item"].to_pylist() == [b"007", b"b"]
    assert rows["text"].to_pylist() == ["Zoë", None]
    assert [key is None for key in rows["key"].to_pylist()] == [False, True]


def refused(columns: dict[str, pa.Array], folder: Path) -> str:
    pq.write_table(pa.table(columns), folder / "part.parquet")
    with pytest.raises(EncodingsError) as refusal:
        read_rows(str(folder / "part.parquet"), 0, "title", "digest")
    return str(refusal.value)


def test_a_catalogue_that_can_not_be_read_is_refused_in_a_sentence(tmp_path):
    assert "column of strings `title`. Received: none" in refused({"item": pa.array(["a"])}, tmp_path)
    assert "Received: int64" in refused({"item": pa.array(["a"]), "title": pa.array([1])}, tmp_path)
    assert "Received: int64" in refused({"item": pa.array([1]), "title": pa.array(["a"])}, tmp_path)
    assert "must have an item. Received: 1" in refused(
        {"item": pa.array([None, "a"]), "title": pa.array("xy")}, tmp_path
    )
    (tmp_path / "nothing" / ".hidden").mkdir(parents=True)
    shutil.copy(tmp_path / "part.parquet", tmp_path / "nothing" / ".hidden")
    with pytest.raises(EncodingsError, match="must be a folder of Parquet files"):
        catalogue_pieces(str(tmp_path / "nothing"))


def test_an_item_in_two_rows_is_refused(tmp_path):
    write_catalogue(tmp_path / "catalogue", {"a": "x", "b": "y"})
    rows = read_rows(str(tmp_path / "catalogue" / "part-00000.parquet"), 0, "title", "digest")
    with pytest.raises(EncodingsError, match=r"in one row of a catalogue\. Received: b'a' in two or more, and 1 more"):
        update_items([rows, rows], 0, 1, tmp_path, None)


def test_encodings_that_are_not_whole_are_refused(tmp_path):
    day, _ = run_shards(tmp_path, 1, {"a": "x"}, 1, 0, None)
    (day.folder / "encodings.json").rename(tmp_path / "header")
    with pytest.raises(EncodingsError, match=r"must be whole, with encodings\.json"):
        Encodings.open(day.folder)
    (day.folder / "encodings.json").write_text('{"format": 9}')
    with pytest.raises(EncodingsError, match="of format 1"):
        Encodings.open(day.folder)
    for file in vector_files(day.folder, 0):
        file.unlink()
    with pytest.raises(EncodingsError, match=r"must have its vector\. Received: .* without 1 of shard 0"):
        day.vectors(["a"])


def test_files_of_two_days_in_one_folder_are_refused(tmp_path):
    first, _ = run_shards(tmp_path, 1, {"a": "x"}, 1, 0, None)
    second, _ = run_shards(tmp_path, 2, {"a": "y"}, 1, 0, first)
    shutil.copy(items_path(first.folder, 0), items_path(second.folder, 0))
    with pytest.raises(EncodingsError, match="do not belong together"):
        run_shards(tmp_path, 3, {"a": "z"}, 1, 0, second)
