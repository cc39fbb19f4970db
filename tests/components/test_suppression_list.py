"""Whoever was forgotten does not come back with any file, and his id stands nowhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.span_example_gen.checks import check
from components.span_example_gen.readers.raw_batch import RawBatch
from components.span_example_gen.settings import make_settings
from components.span_example_gen.write_plan import IngestSummary
from components.suppression_list import SuppressionList, SuppressionListError
from tests.components.span_example_gen_ingest import COLUMNS, DATA, HEADER, START, deliver, ingest

GONE = "user-4711"


@given(ids=st.lists(st.binary(min_size=1), unique=True), chosen=st.data())
def test_exactly_those_who_were_forgotten_are_found_among_keys(ids: list[bytes], chosen: st.DataObject) -> None:
    gone = chosen.draw(st.lists(st.sampled_from(ids), unique=True)) if ids else []
    forgotten = SuppressionList.new().with_users(gone)
    keys = [*ids, None, *ids]
    assert forgotten.among(pa.array(keys, pa.binary())).tolist() == [key in gone for key in keys]


def test_the_file_holds_no_id_and_two_roots_write_different_hashes(tmp_path: Path) -> None:
    first, other = (SuppressionList.new().with_users([GONE.encode()]) for _ in range(2))
    first.with_spans([19_844]).save(tmp_path / "forgotten.json")
    assert SuppressionList.load(tmp_path / "forgotten.json") == first.with_spans([19_844])
    assert GONE not in (tmp_path / "forgotten.json").read_text()
    assert not first.users & other.users
    assert SuppressionList.load(tmp_path / "none.json") is None


def test_a_damaged_file_stops_the_ingestion_instead_of_bringing_people_back(tmp_path: Path) -> None:
    (tmp_path / "forgotten.json").write_text('{"format": 1}')
    with pytest.raises(SuppressionListError, match=r"written by `warmspan forget`.*would come back"):
        SuppressionList.load(tmp_path / "forgotten.json")


def test_a_row_of_a_forgotten_user_is_a_reject_without_a_value_whatever_else_is_wrong_with_it() -> None:
    forgotten = SuppressionList.new().with_users([GONE.encode()])
    settings = make_settings(
        {**DATA, "columns": COLUMNS, "reject": [{"column": "user", "matches": "user-", "reason": "known"}]},
        "{SPAN}/*",
        0.1,
    )
    columns = {"user": ["a", GONE, GONE, "b"], "film": ["x", "x", "", "x"], "at": ["1", "1", "never", "never"]}
    raw = RawBatch(
        {name: pa.array(values, pa.string()) for name, values in columns.items()},
        np.array([2, 3, 4, 5]),
        malformed=((6, f'1,"{GONE},x'), (7, "1,2,3,4")),
    )
    events, rejects = check(raw, settings, None, forgotten)
    assert events["key"].to_pylist() == ["a"]
    assert [(reject.row, reject.reason, reject.value) for reject in rejects] == [
        (3, "forgotten", ""),
        (4, "forgotten", ""),
        (5, "no_time", "never"),
        (6, "malformed_row", ""),
        (7, "malformed_row", "1,2,3,4"),
    ]


def test_the_forgotten_do_not_count_towards_the_rejects_that_refuse_a_span() -> None:
    counts = {"events": 95, "rejects": 5}
    assert IngestSummary(read=100, counts=counts, reasons={"no_time": 5}).refused(0.04)
    assert not IngestSummary(read=100, counts=counts, reasons={"forgotten": 5}).refused(0.04)


def test_a_delivery_with_a_forgotten_user_is_ingested_without_him(tmp_path: Path) -> None:
    SuppressionList.new().with_users([GONE.encode()]).save(tmp_path / "forgotten.json")
    rows = "".join(f"{user},f{n},{START + n}\n" for n, user in enumerate(["a", GONE, "b", GONE, "c"]))
    deliver(tmp_path / "data", HEADER + rows)
    ingested = ingest(tmp_path / "data", tmp_path / "out", forgotten=str(tmp_path / "forgotten.json"))
    assert {event["key"] for event in ingested.all_events} == {b"a", b"b", b"c"}
    assert ingested.reasons == {"forgotten": 2}
    assert (ingested.uri / "rejects.csv").read_text().splitlines()[1:] == [
        "2013-05-03/events.csv,3,forgotten,",
        "2013-05-03/events.csv,5,forgotten,",
    ]
