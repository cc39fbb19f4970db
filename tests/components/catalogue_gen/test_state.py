"""A catalogue after rows is what a dictionary of its items would be, whatever the rows."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from components.catalogue_gen.checks import rows_schema
from components.catalogue_gen.state import apply_rows, load_table, save_table, state_schema
from tests.components.catalogue_gen.catalogue_days import FEATURES, settings

_ROW = st.tuples(
    st.sampled_from("abcdef"),
    st.booleans(),
    st.sampled_from([None, ["x"], ["x", "y"], ["y"]]),
    st.sampled_from([None, float("nan"), 1.0, 2.0]),
    st.sampled_from([None, "", "m"]),
)
_DAYS = st.lists(st.tuples(st.booleans(), st.lists(_ROW, max_size=8)), max_size=5)


def table(rows: list[tuple[Any, ...]]) -> pa.Table:
    columns = [list(column) for column in zip(*rows, strict=True)] or [[]] * 5
    item, withdrawn, *values = columns
    arrays = [[name.encode() for name in item], withdrawn, [0] * len(item), *values]
    schema = rows_schema(settings("nowhere"))
    return pa.table([pa.array(array, field.type) for array, field in zip(arrays, schema, strict=True)], schema)


def as_text(values: Any) -> str:
    return repr(values)  # NaN is like NaN


@given(_DAYS)
def test_it_is_what_a_dictionary_would_hold(days):
    state = state_schema(FEATURES).empty_table()
    expected: dict[str, dict[str, Any]] = {}
    for span, (snapshot, rows) in enumerate(days):
        state, differences = apply_rows(state, table(rows), span, snapshot)
        newest = {name: (withdrawn, values) for name, withdrawn, *values in rows}
        if snapshot:
            for name, entry in expected.items():
                if name not in newest and not entry["withdrawn"]:
                    entry.update(withdrawn=True, changed=span)
        for name, (withdrawn, values) in newest.items():
            entry = expected.setdefault(name, {"since": span, "changed": span, "withdrawn": None, "values": None})
            if entry["withdrawn"] != withdrawn or as_text(entry["values"]) != as_text(values):
                entry.update(changed=span)
            entry.update(withdrawn=withdrawn, values=values)
        got = [(row.pop("item").decode(), row) for row in state.to_pylist()]
        assert [name for name, _ in got] == list(expected)
        for name, row in got:
            entry = expected[name]
            assert [row[part] for part in ("since", "changed", "withdrawn")] == [
                entry[part] for part in ("since", "changed", "withdrawn")
            ]
            assert as_text([row[feature.name] for feature in FEATURES]) == as_text(entry["values"])
        counted = differences.added + differences.changed + differences.returned + differences.unchanged
        assert counted + differences.withdrawn - differences.absent == len(rows) - differences.repeats


def test_rows_keep_their_places_and_go_through_part_files(tmp_path, monkeypatch):
    monkeypatch.setattr("components.catalogue_gen.state._PART_ROWS", 2)
    state = state_schema(FEATURES).empty_table()
    state, _ = apply_rows(state, table([(name, False, ["x"], 1.0, None) for name in "abcde"]), 7, snapshot=True)
    state, _ = apply_rows(state, table([("z", False, None, None, "m"), ("c", False, None, 3.0, None)]), 8, False)
    save_table(state, tmp_path)
    assert len(list(tmp_path.glob("items-*.parquet"))) == 3
    assert load_table(tmp_path).equals(state)
    assert state["item"].to_pylist() == [b"a", b"b", b"c", b"d", b"e", b"z"]
    assert state["changed"].to_pylist() == [7, 7, 8, 7, 7, 8]


def test_nothing_is_a_table_too(tmp_path):
    save_table(state_schema(FEATURES).empty_table(), tmp_path)
    assert load_table(tmp_path).num_rows == 0
    assert load_table(tmp_path / "elsewhere") is None
