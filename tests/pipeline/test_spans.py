"""Names, numbers and the folders that are spans."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.data_files import data_files, spans_of
from pipeline.spans import Naming, SpanNameError

DAYS, NUMBERS = Naming(dated=True), Naming(dated=False)


@given(st.dates(min_value=datetime.date(1970, 1, 1)))
def test_a_day_is_its_distance_from_1970(day):
    assert DAYS.parse(day.isoformat()) == (day - datetime.date(1970, 1, 1)).days
    assert DAYS.format(DAYS.parse(day.isoformat())) == day.isoformat()


@pytest.mark.parametrize("name", ["2024-5-3", "20240503", "2024-13-01", "yesterday", ""])
def test_a_day_must_be_written_in_full(name):
    with pytest.raises(SpanNameError, match="like 2024-05-03. Received: " + repr(name)):
        DAYS.parse(name)


def test_a_numbered_span_is_its_number():
    assert NUMBERS.parse("42") == 42
    with pytest.raises(SpanNameError, match="a number like 42"):
        NUMBERS.parse("2024-05-03")


def test_a_version_tells_the_day_and_the_revision():
    assert DAYS.version(DAYS.parse("2013-03-01"), 1) == 2013030101
    assert NUMBERS.version(42, 12) == 4212


@given(st.integers(0, 60_000), st.integers(0, 60_000), st.integers(1, 99), st.integers(1, 99))
def test_a_later_span_has_a_higher_version(span, other_span, revision, other_revision):
    for naming in (DAYS, NUMBERS):
        if span < other_span:
            assert naming.version(span, revision) < naming.version(other_span, other_revision)


def test_a_hundredth_revision_is_refused():
    with pytest.raises(SpanNameError, match="1 to 99"):
        DAYS.version(1, 100)


@pytest.mark.parametrize(
    ("pattern", "files", "spans"),
    [
        ("{YYYY}-{MM}-{DD}/*.csv", ["1970-01-03/a.csv", "1970-01-02/a.csv", "1970-01-04/a.txt", "x/a.csv"], [1, 2]),
        ("{YYYY}-{MM}-{DD}/*", ["1970-13-03/a.csv", "1970-01-02/a"], [1]),
        ("{YYYY}/{MM}/{DD}/e-{YYYY}{MM}{DD}.gz", ["1970/01/02/e-19700102.gz", "1970/01/03/e-19700102.gz"], [1]),
        ("{SPAN}/*", ["7/a", "12/a", "x/a"], [7, 12]),
        ("span-{SPAN}/v{VERSION}/*", ["span-7/v1/a", "span-7/v2/a", "span-9/a"], [7, 9]),
    ],
)
def test_spans_are_the_folders_that_hold_files(tmp_path, pattern, files, spans):
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "1970-01-09").mkdir()
    assert spans_of(data_files(tmp_path, pattern)) == spans
