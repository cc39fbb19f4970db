"""A span has its own time: what becomes of events outside of it, and of files and exports that came before."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.span_example_gen import SpanError
from tests.components.span_example_gen_ingest import DAY, HEADER, SPAN, START, deliver, ingest, keys, resolved

HOUR, YEAR = 3_600, 366 * 86_400


def rows(**times: int) -> str:
    return HEADER + "".join(f"{key},i,{at}\n" for key, at in times.items())


def test_what_is_outside_of_the_day_is_a_reject_by_how_far(tmp_path: Path) -> None:
    times = {"a": START - YEAR - 1, "b": START - YEAR, "c": START - 1, "d": START}
    times |= {"e": START + 24 * HOUR - 1, "f": START + 24 * HOUR, "g": START + 48 * HOUR - 1, "h": START + 48 * HOUR}
    deliver(tmp_path, rows(**times))
    done = ingest(tmp_path, tmp_path / "out", span_hours="auto", max_reject_fraction=1)
    assert keys(done) == ["d", "e"]
    assert done.reasons == {"outside_span": 2, "late": 2, "early": 2}
    assert (done.count("late"), done.count("early")) == (0, 0)


def test_late_and_early_events_are_taken_in_and_counted(tmp_path: Path) -> None:
    deliver(tmp_path, rows(late=START - 1, own=START, early=START + 24 * HOUR, absurd=5))
    done = ingest(tmp_path, tmp_path / "out", span_hours="auto", late="accept", max_reject_fraction=1)
    assert keys(done) == ["late", "own", "early"]
    assert (done.count("late"), done.count("early"), done.reasons) == (1, 1, {"outside_span": 1})


def test_numbered_spans_take_any_time_until_they_have_a_length(tmp_path: Path) -> None:
    deliver(tmp_path, rows(a=0, b=10 * HOUR, c=10**9), folder="10")
    whole = ingest(tmp_path, tmp_path / "out", span=10, pattern="{SPAN}/*", span_hours="auto")
    assert keys(whole) == ["a", "b", "c"]
    cut = ingest(tmp_path, tmp_path / "cut", span=10, pattern="{SPAN}/*", span_hours=1, max_reject_fraction=1)
    assert keys(cut) == ["b"]


def test_a_dated_span_of_any_time_still_refuses_times_in_another_unit(tmp_path: Path) -> None:
    mixed = [START * (1 if number % 2 else 1000) + number for number in range(20)]
    deliver(tmp_path, rows(**{f"u{number}": at for number, at in enumerate(mixed)}))
    with pytest.raises(SpanError, match="outside_span: 10") as caught:
        ingest(tmp_path, tmp_path / "out", span_hours=None, timestamp_unit="ms")
    assert "set `data.timestamp_unit: s`" in str(caught.value)


def test_a_dated_span_of_any_time_holds_history(tmp_path: Path) -> None:
    deliver(tmp_path, rows(a=START - 20 * YEAR, b=START + 300 * 24 * HOUR))
    assert keys(ingest(tmp_path, tmp_path / "out", span_hours=None)) == ["a", "b"]


def test_a_refused_day_says_where_to_look(tmp_path: Path) -> None:
    deliver(tmp_path, rows(a=START - 5 * HOUR, b=START))
    with pytest.raises(SpanError, match="late: 1") as caught:
        ingest(tmp_path, tmp_path / "out", span_hours="auto")
    for setting in ("`data.span_hours`", "`data.late: accept`"):
        assert setting in str(caught.value)


def test_the_file_of_an_earlier_day_is_refused(tmp_path: Path) -> None:
    deliver(tmp_path, rows(a=START - HOUR, b=START), folder="2013-05-02")
    deliver(tmp_path, rows(a=START - HOUR, b=START))
    with pytest.raises(SpanError, match=f"{DAY}/events.csv, byte for byte 2013-05-02/events.csv"):
        resolved(tmp_path)
    assert resolved(tmp_path, late="accept")
    assert resolved(tmp_path, span=SPAN - 1)  # that there is a later one is not its fault


@pytest.mark.parametrize("content", [HEADER, ""], ids=["header", "nothing"])
def test_two_days_without_a_row_are_no_fault(tmp_path: Path, content: str) -> None:
    deliver(tmp_path, content, folder="2013-05-02")
    deliver(tmp_path, content)
    assert resolved(tmp_path)


def test_files_of_one_size_are_told_apart(tmp_path: Path) -> None:
    deliver(tmp_path, rows(a=START), folder="2013-05-02")
    deliver(tmp_path, rows(b=START))
    assert resolved(tmp_path)
