"""What a CSV file gives, however it is quoted, cut or broken: every row, and every bad one by its physical line."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.span_example_gen import SpanError
from components.span_example_gen.readers import csv_reader, line_chunks, raw_batch
from tests.components.span_example_gen_ingest import DAY, FILE, HEADER, START, deliver, ingest, keys


def test_csv_without_quotes_keeps_ids_as_text_too(tmp_path: Path) -> None:
    ids = ["0017", "17850", "1e5", "🎬", " spaced ", "x" * 10_000]
    deliver(tmp_path, HEADER + "".join(f"{key},i,{START + at}\n" for at, key in enumerate(ids)))
    assert keys(ingest(tmp_path, tmp_path / "out")) == ids


@pytest.mark.parametrize("quote", ["", '"'], ids=["plain", "quoted"])
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["unix", "dos"])
def test_csv_rejects_name_the_physical_line(tmp_path: Path, quote: str, end: str) -> None:
    rows = [
        "user,film,at",
        f"{quote}a{quote},i,{START}",
        "",
        "b,i",
        f"b,i,{START},more",
        "",
        f",i,{START}",
        f"c,,{START}",
        "d,i,noon",
        "e,i,",
        f"f,i,{START + 86_400}",
        f"g,i,{START}",
    ]
    deliver(tmp_path, end.join(rows) + end)
    done = ingest(tmp_path, tmp_path / "out", span_hours=24, max_reject_fraction=1)
    assert done.rejects == [
        (FILE, "4", "malformed_row", "b,i"),
        (FILE, "5", "malformed_row", f"b,i,{START},more"),
        (FILE, "7", "no_key", ""),
        (FILE, "8", "no_item", ""),
        (FILE, "9", "no_time", "noon"),
        (FILE, "10", "no_time", ""),
        (FILE, "11", "early", str(START + 86_400)),
    ]
    assert sorted(keys(done)) == ["a", "g"]


def test_lines_are_physical_after_values_of_several_lines(tmp_path: Path) -> None:
    deliver(tmp_path, f'{HEADER}"a\nb",i,{START}\n"c\nd\ne",i,noon\nf,i,\n')
    done = ingest(tmp_path, tmp_path / "out", max_reject_fraction=1)
    assert [reject[1:3] for reject in done.rejects] == [("4", "no_time"), ("7", "no_time")]


def test_lines_go_on_over_pieces_and_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_chunks, "PIECE_BYTES", 500)
    monkeypatch.setattr(raw_batch, "PIECE_BYTES", 700)
    bad = {7, 20, 21, 99}
    rows = [f"u{line},i,{'noon' if line in bad else START}" for line in range(2, 101)]
    deliver(tmp_path, HEADER + "\n".join(rows), "a.csv")
    deliver(tmp_path, HEADER + "\n".join(rows), "b.csv")
    deliver(tmp_path, gzip.compress((HEADER + "\n".join(rows)).encode()), "c.csv.gz")
    done = ingest(tmp_path, tmp_path / "out", max_reject_fraction=1)
    expected = [(f"{DAY}/{name}", str(line)) for name in ("a.csv", "b.csv", "c.csv.gz") for line in sorted(bad)]
    assert [reject[:2] for reject in done.rejects] == expected
    assert (done.count("events"), done.count("duplicates")) == (95, 190)


def test_csv_cut_in_the_middle_of_a_row(tmp_path: Path) -> None:
    deliver(tmp_path, f"{HEADER}a,i,{START}\nb,i")
    done = ingest(tmp_path, tmp_path / "out", max_reject_fraction=1)
    assert done.rejects == [(FILE, "3", "malformed_row", "b,i")]


def test_csv_cut_within_quotes(tmp_path: Path) -> None:
    deliver(tmp_path, f'{HEADER}a,i,{START}\n"b,i,{START}')
    done = ingest(tmp_path, tmp_path / "out", max_reject_fraction=1)
    assert done.rejects == [(FILE, "3", "malformed_row", f'"b,i,{START}')]


def test_a_last_row_without_a_line_end_is_a_row(tmp_path: Path) -> None:
    deliver(tmp_path, f"{HEADER}a,i,{START}")
    assert keys(ingest(tmp_path, tmp_path / "out")) == ["a"]


def test_a_quote_that_is_never_closed_loses_one_row_only(tmp_path: Path) -> None:
    good = "".join(f"u{number},i,{START + number}\n" for number in range(20_000))
    deliver(tmp_path, f'{HEADER}"a,i,{START}\n{good}')
    done = ingest(tmp_path, tmp_path / "out")
    assert done.rejects == [(FILE, "2", "malformed_row", f'"a,i,{START}')]
    assert done.count("events") == 20_000


def test_bytes_that_are_not_utf8_are_one_bad_row(tmp_path: Path) -> None:
    deliver(tmp_path, HEADER.encode() + f"a,i,{START}\n".encode() + b"caf\xe9,i,%d\n" % START)
    done = ingest(tmp_path, tmp_path / "out", max_reject_fraction=1)
    assert done.rejects == [(FILE, "3", "malformed_row", f"caf\ufffd,i,{START}")]


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    deliver(tmp_path, b"\xef\xbb\xbf" + f"{HEADER}a,i,{START}\n".encode())
    assert keys(ingest(tmp_path, tmp_path / "out")) == ["a"]


def test_columns_may_stand_in_any_order_in_each_file(tmp_path: Path) -> None:
    deliver(tmp_path, f"user,film,at\na,i,{START}\n", "a.csv")
    deliver(tmp_path, f"at,x,x,film,user\n{START},,,i,b\n", "b.csv")
    assert keys(ingest(tmp_path, tmp_path / "out")) == ["a", "b"]


def test_a_file_with_other_columns_is_named(tmp_path: Path) -> None:
    deliver(tmp_path, f"User ,film,when\na,i,{START}\n")
    with pytest.raises(SpanError) as caught:
        ingest(tmp_path, tmp_path / "out")
    message = str(caught.value)
    assert f"{FILE} must have the columns" in message
    assert "Missing: 'user' (nearest: 'User '), 'at'. Found: 'User ', 'film', 'when'" in message


@pytest.mark.parametrize(
    ("content", "rule"), [("\n", "line of column names"), ("user,user,film,at\n", "each column once")]
)
def test_a_header_that_cannot_be_used(tmp_path: Path, content: str, rule: str) -> None:
    deliver(tmp_path, content)
    with pytest.raises(SpanError, match=rule):
        ingest(tmp_path, tmp_path / "out")


cell = st.text(st.sampled_from('ab",\n\r é'), max_size=6)


@given(st.lists(st.tuples(cell, cell, cell), max_size=12), st.sampled_from([8, 40, 1 << 20]), st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_csv_writes_is_read_back_with_its_lines(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str]], size: int, quote_all: bool
) -> None:
    folder = tmp_path_factory.mktemp("csv")
    stream = io.StringIO()
    writer = csv.writer(stream, quoting=csv.QUOTE_ALL if quote_all else csv.QUOTE_MINIMAL)
    writer.writerow(("a", "b", "c"))
    expected = []
    for row in rows:
        expected.append((stream.getvalue().count("\n") + 1, row))
        writer.writerow(row)
    path = folder / "x.csv"
    path.write_bytes(stream.getvalue().encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(line_chunks, "PIECE_BYTES", size)
        pieces = csv_reader.plan(str(path), "x.csv", ("a", "b", "c"))
        batches = [raw for piece in pieces for raw in csv_reader.read(piece, ("a", "b", "c"))]
    rows_read = []
    for raw in batches:
        assert not raw.malformed
        rows_read += list(
            zip(raw.rows.tolist(), zip(*(raw.columns[name].to_pylist() for name in "abc"), strict=True), strict=True)
        )
    assert rows_read == expected
