"""Days that overlap: late events at their true place, and nothing that an earlier day brought learned again."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from components.span_transform import history
from components.span_transform.known_events import without_known
from tests.components import span_transform_days as days
from tests.components.plain_settings import transform_settings
from tests.components.span_transform_reference import Event
from tests.components.test_span_transform import an_events_artifact, execute, state_of
from trainer.vocabulary import Vocabulary


def event(at: int, item: bytes | None = None, weight: float = 1.0) -> Event:
    return Event(b"key", b"item%d" % at if item is None else item, at, weight)


def test_an_export_that_overlaps_the_last_one_is_not_learned_twice(tmp_path: Path) -> None:
    trained, held_out = [event(at) for at in range(5)], [event(5), event(6)]
    first = execute(tmp_path, an_events_artifact(tmp_path / "1", trained, held_out), 1)
    # From 3 on once more: two that were trained on, two that were held out; then what is new, and another of time 6.
    again = [event(at) for at in range(3, 9)] + [event(6, b"another")]
    second = execute(
        tmp_path, an_events_artifact(tmp_path / "2", again, [event(9), event(6)]), 2, yesterday=state_of(first)
    )
    count = second["sequences"].get_int_custom_property
    assert (count("known_events"), count("new_events")) == (5, 2 + 3)
    assert second["held_out"].get_int_custom_property("events") == 1
    (row,) = days.read_history(second["history"].uri).values()
    assert row["timestamps"] == [0, 1, 2, 3, 4, 5, 6, 6, 7, 8, 9]
    items = Vocabulary.load(second["vocabulary"].uri, "items")
    assert items.trained_counts(pa.array([b"item3", b"item5"])).tolist() == [1, 1]


def test_a_late_event_stands_at_its_place_and_is_new_there(tmp_path: Path) -> None:
    first = execute(tmp_path, an_events_artifact(tmp_path / "1", [event(at) for at in (10, 20, 30)], []), 1)
    made = an_events_artifact(tmp_path / "2", [event(15), event(40)], [])
    second = execute(tmp_path, made, 2, transform_settings(length=3), yesterday=state_of(first))
    sequences = sorted(days.read_sequences(second["sequences"].uri), key=lambda sequence: sequence.timestamps)
    assert [(sequence.timestamps, sequence.first_new) for sequence in sequences] == [((10, 15), 1), ((20, 30, 40), 2)]


def test_a_day_after_the_history_reads_none_of_it(tmp_path: Path) -> None:
    table = pa.Table.from_pylist([event(7)._asdict()], days.events.SCHEMA)
    assert without_known(table, tmp_path / "not there", until=6) == (table, 0)


def test_an_history_of_an_earlier_version_is_looked_at_whole(tmp_path: Path) -> None:
    first = execute(tmp_path, an_events_artifact(tmp_path / "1", [event(7)], []), 1)
    (path,) = history.shards_in(first["history"].uri)
    table = pq.read_table(path)
    kept = {name: value for name, value in table.schema.metadata.items() if name not in (b"known", b"until")}
    pq.write_table(table.replace_schema_metadata(kept), path)
    until = history.counts_in(first["history"].uri).until
    again = pa.Table.from_pylist([event(7)._asdict(), event(8)._asdict()], days.events.SCHEMA)
    left, known = without_known(again, first["history"].uri, until)
    assert (left["timestamp"].to_pylist(), known) == ([8], 1)
