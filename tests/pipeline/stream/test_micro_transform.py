"""Mini-batches of a day: what is learned, what judges, and what is kept for the next one."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.span_transform import shard
from components.span_transform.events import SCHEMA
from components.span_transform.settings import Settings
from components.span_transform.vocabulary_growth import Vocabularies
from pipeline.backtest.ingest import Events
from pipeline.backtest.prepared_spans import transform
from pipeline.stream.micro_transform import MicroBatch, MicroTransform, no_history
from trainer.held_out_parts import deals_to_verdict

SETTINGS = Settings(5, 1, 1, 1, 7.0, 5, 0.5)
SHARE = 0.3
KEYS = [f"u{number}" for number in range(12)]
JUDGES = {key for key, judge in zip(KEYS, deals_to_verdict(pa.array(KEYS), SHARE), strict=True) if judge}


def table(rows: list[tuple[str, str, int]]) -> pa.Table:
    keys, items, times = zip(*rows, strict=True) if rows else ((), (), ())
    columns = [pa.array(keys, pa.string()).cast(pa.binary()), pa.array(items, pa.string()).cast(pa.binary())]
    columns += [pa.array(times, pa.int64()), pa.array(np.ones(len(rows), np.float32))]
    return pa.Table.from_arrays(columns, schema=SCHEMA)


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A span before the day: u0 to u3 with trained events, and one each that is held out."""
    folder = tmp_path_factory.mktemp("night")
    made = [folder / name for name in ("sequences", "held_out", "vocabulary", "history")]
    for of in made:
        of.mkdir()
    train = table([(key, f"i{at}", at) for key in KEYS[:4] for at in range(3)])
    held_out = table([(key, "late", 10) for key in KEYS[:4]])
    transform(Events(train, held_out), 1, shard.Folders(*map(str, made), None, None), SETTINGS)
    return folder


def stream(night: Path, batches: list[list[tuple[str, str, int]]]) -> tuple[list[MicroBatch], pa.Table]:
    micro = MicroTransform(night / "history", night / "vocabulary", SETTINGS, SHARE)
    history, vocabularies = no_history(SETTINGS), Vocabularies.load(night / "vocabulary", 1)
    made = []
    for rows in batches:
        made.append(micro.apply(table(rows), 2, history, vocabularies))
        history, vocabularies = made[-1].history, made[-1].vocabularies
    return made, history


def by_key(history: pa.Table) -> dict[str, list[str]]:
    return {row["key"].decode(): [item.decode() for item in row["items"]] for row in history.to_pylist()}


def test_the_fixture_has_keys_of_both_kinds():
    assert 0 < len(JUDGES) < len(KEYS)
    assert JUDGES & set(KEYS[:4])
    assert set(KEYS[:4]) - JUDGES


def test_what_was_held_out_last_night_is_learned_with_the_first_events_of_its_key_unless_it_judges(night):
    learns, judges = (sorted(side)[0] for side in (set(KEYS[:4]) - JUDGES, JUDGES & set(KEYS[:4])))
    (batch,), _ = stream(night, [[(learns, "i1", 100), (judges, "i2", 100)]])
    assert batch.sequences.new_events == 2
    (at,) = np.flatnonzero(np.diff(batch.sequences.splits))
    sequence = batch.vocabularies.items.ids_of(batch.sequences.items[batch.sequences.splits[at] :]).to_pylist()
    assert sequence == [b"i0", b"i1", b"i2", b"late", b"i1"]
    assert batch.sequences.first_new[at] == 3
    assert len(batch.positions) == 1
    history = batch.vocabularies.items.ids_of(batch.positions.items[batch.positions.begin[0] : batch.positions.end[0]])
    # It knows what was held out, as what it has seen: no row of its own, since nobody has learned it before today.
    assert history.to_pylist()[:3] == [b"i0", b"i1", b"i2"]


def test_an_event_that_came_before_is_known_and_not_learned_again(night):
    learns = min(set(KEYS) - JUDGES - set(KEYS[:4]))
    first, again = [(learns, "i1", 100), (learns, "i2", 101)], [(learns, "i2", 101), (learns, "i0", 102)]
    batches, history = stream(night, [first, again])
    assert [batch.known for batch in batches] == [0, 1]
    assert [batch.sequences.new_events for batch in batches] == [2, 1]
    assert by_key(history)[learns] == ["i1", "i2", "i0"]


def test_an_item_that_is_new_gets_a_row_after_all_others(night):
    learns = min(set(KEYS) - JUDGES)
    (batch,), _ = stream(night, [[(learns, "fresh", 100)]])
    before = Vocabularies.load(night / "vocabulary", 1)
    assert batch.vocabularies.items.ids.to_pylist()[: len(before.items.ids)] == before.items.ids.to_pylist()
    assert b"fresh" in batch.vocabularies.items.ids.to_pylist()


@settings(max_examples=25)
@given(
    rows=st.lists(st.tuples(st.sampled_from(KEYS), st.sampled_from(["i0", "i1", "new", "other"])), max_size=30),
    cuts=st.sets(st.integers(0, 30), max_size=4),
)
def test_however_a_day_is_cut_every_event_is_learned_once_or_judges_once(night, rows, cuts):
    day = [(key, item, 100 + at) for at, (key, item) in enumerate(rows)]
    bounds = [0, *sorted(cut for cut in cuts if cut < len(day)), len(day)]
    parts = [day[begin:end] for begin, end in itertools.pairwise(bounds)]
    batches, history = stream(night, parts)
    (whole,), of_whole = stream(night, [day])
    assert by_key(history) == by_key(of_whole)
    assert sum(batch.sequences.new_events for batch in batches) == whole.sequences.new_events
    assert sum(len(batch.positions) for batch in batches) == sum(key in JUDGES for key, *_ in day)
    released = len({key for key, *_ in day} & set(KEYS[:4]) - JUDGES)
    assert whole.sequences.new_events == sum(key not in JUDGES for key, *_ in day) + released
    counts = batches[-1].vocabularies.items
    assert dict(zip(counts.ids.to_pylist(), counts.counts, strict=True)) == dict(
        zip(whole.vocabularies.items.ids.to_pylist(), whole.vocabularies.items.counts, strict=True)
    )
    assert not history["held_out"].to_numpy().any()
