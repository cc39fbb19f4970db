"""Several days against the plain reference, and the invariants that a recommender's days stand on."""

from __future__ import annotations

import itertools
import shutil
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.span_transform import Settings, history
from tests.components import span_transform_days as days
from tests.components.plain_settings import transform_settings
from tests.components.span_transform_reference import Event, Reference

NAMES = st.sampled_from([b"a", b"b", b"a,b", b"a\0", b"line\nbreak", "🎬".encode(), b"\xff\xfe", b""])


@st.composite
def a_day(draw: st.DrawFn) -> tuple[list[list[Event]], list[Event]]:
    """Train events in one to three files, with times out of order and equal, and later held-out events."""

    def events(least: int, most: int, number: int) -> list[Event]:
        event = st.builds(Event, NAMES, NAMES, st.integers(least, most), st.integers(0, 3).map(float))
        return draw(st.lists(event, max_size=number))

    train = events(0, 3, 14)
    cuts = sorted(draw(st.lists(st.integers(0, len(train)), max_size=2)))
    bounds = [0, *cuts, len(train)]
    return [train[begin:end] for begin, end in itertools.pairwise(bounds)], events(4, 6, 5)


some_settings = st.builds(
    Settings,
    length=st.integers(1, 5),
    oov_rows=st.integers(1, 3),
    item_min_count=st.integers(1, 3),
    key_min_count=st.integers(1, 3),
    cold_below=st.integers(1, 4),
    half_life_spans=st.just(7.0),
)


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), chosen=some_settings, number=st.integers(1, 4))
def test_days_are_as_in_the_reference(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, chosen: Settings, number: int
) -> None:
    root, reference = tmp_path_factory.mktemp("days"), Reference(chosen)
    try:
        for day in range(number):
            train, held_out = data.draw(a_day())
            # Days may overlap: then some events come late, some early, and some for a second time.
            step = data.draw(st.sampled_from([10, 2, 0]))
            timestamps = [[e._replace(timestamp=e.timestamp + step * day) for e in file] for file in [*train, held_out]]
            *train, held_out = timestamps
            files = {
                "train": days.write_events(root / "events" / str(day), "train", train),
                "eval": days.write_events(root / "events" / str(day), "eval", [held_out]),
            }
            where = days.folders(root, day, day - 1 if day else None)
            days.run_inner(files, data.draw(st.sampled_from([1, 2, 4])), day, where, chosen)

            sequences, positions = reference.day([event for file in train for event in file], held_out)
            assert Counter(days.read_sequences(where.sequences)) == Counter(sequences)
            assert Counter(days.read_held_out(where.held_out)) == Counter(positions)
            _check_history(days.read_history(where.history), reference)
            counts = history.counts_in(where.history)
            assert (counts.span, counts.held_out, counts.sequences) == (day, len(positions), len(sequences))
    finally:
        shutil.rmtree(root)


def _check_history(history: dict[bytes, dict], reference: Reference) -> None:
    assert history.keys() == reference.trained.keys() | reference.waiting.keys()
    for key, row in history.items():
        waiting = reference.waiting.get(key, [])
        kept = reference.trained.get(key, [])[-reference.settings.length :] + waiting
        assert row["held_out"] == len(waiting)
        assert row["items"] == [event.item for event in kept]
        assert row["timestamps"] == [event.timestamp for event in kept]
        assert row["weights"] == [event.weight for event in kept]


def _days(number: int, held_out: int = 3) -> list[tuple[list[Event], list[Event]]]:
    """Days of 40 events each; the weight of an event is its number, by which it is known again."""
    made = []
    for day in range(number):
        events = [
            Event(b"key%d" % (n * n % 7), b"item%d" % (n * (day + 3) % 11), 1000 * day + n, float(100 * day + n))
            for n in range(40)
        ]
        made.append((events[: 40 - held_out], events[40 - held_out :]))
    return made


def _run(
    root: Path, made: list[tuple[list[Event], list[Event]]], chosen: Settings, shards: int = 1, run=days.run_inner
):
    every = []
    for day, (train, held_out) in enumerate(made):
        files = {
            "train": days.write_events(root / "events" / str(day), "train", [train]),
            "eval": days.write_events(root / "events" / str(day), "eval", [held_out]),
        }
        every.append(days.folders(root, day, day - 1 if day else None))
        run(files, shards, day, every[-1], chosen)
    return every


@pytest.mark.parametrize("length", [1, 2, 5, 50])
@pytest.mark.parametrize("held_out", [0, 4, 40])
def test_every_event_is_a_new_position_exactly_once(tmp_path: Path, length: int, held_out: int) -> None:
    made = [*_days(3, held_out), ([], [])]
    new = Counter()
    for where in _run(tmp_path, made, transform_settings(length=length)):
        for sequence in days.read_sequences(where.sequences):
            assert 0 <= sequence.first_new <= sequence.first_today <= len(sequence.items) <= length
            assert sequence.first_new < len(sequence.items)
            new.update(sequence.weights[sequence.first_new :])
    assert new == Counter(event.weight for day in made for events in day for event in events)


def test_released_positions_stand_before_todays(tmp_path: Path) -> None:
    made = _days(2)
    *_, where = _run(tmp_path, made, transform_settings())
    yesterday, today = {event.weight for event in made[0][1]}, {event.weight for event in made[1][0]}
    for sequence in days.read_sequences(where.sequences):
        assert set(sequence.weights[sequence.first_new : sequence.first_today]) <= yesterday
        assert set(sequence.weights[sequence.first_today :]) <= today


def test_a_held_out_event_changes_neither_vocabulary_nor_sequences_of_its_day(tmp_path: Path) -> None:
    made = _days(2)
    other = [made[0], (made[1][0], [Event(b"only held out", b"never trained on", 9999, 1.0)] * 3)]
    first, second = (_run(tmp_path / name, run, transform_settings())[-1] for name, run in (("1", made), ("2", other)))
    assert days.bytes_of(first.vocabulary, first.sequences) == days.bytes_of(second.vocabulary, second.sequences)
    assert days.bytes_of(first.held_out) != days.bytes_of(second.held_out)
    position = days.read_held_out(second.held_out)[0]
    assert position.key_row == position.item_row == 1
    assert (position.key_slice, position.item_slice) == (b"new", b"new")


def test_a_key_known_only_by_held_out_events_waits_in_the_history(tmp_path: Path) -> None:
    made = [([], [Event(b"k", b"i", 5, 1.0), Event(b"k", b"j", 6, 2.0)]), ([], []), ([], [])]
    first, second, third = _run(tmp_path, made, transform_settings(length=1))
    assert days.read_sequences(first.sequences) == []
    assert days.read_history(first.history)[b"k"]["held_out"] == 2
    assert [position.history for position in days.read_held_out(first.held_out)] == [(), (1,)]
    assert [sequence.items for sequence in days.read_sequences(second.sequences)] == [(2,), (3,)]
    assert days.read_history(second.history)[b"k"]["items"] == [b"j"]
    assert days.read_sequences(third.sequences) == []
    assert days.bytes_of(second.held_out) == days.bytes_of(third.held_out)


def test_an_item_admitted_later_is_resolved_in_the_old_history(tmp_path: Path) -> None:
    made = [([Event(b"k", b"rare", 1, 1.0)], []), ([Event(b"k", b"rare", 11, 1.0)], [])]
    first, second = _run(tmp_path, made, transform_settings(item_min_count=2))
    assert [sequence.items for sequence in days.read_sequences(first.sequences)] == [(1,)]
    assert [sequence.items for sequence in days.read_sequences(second.sequences)] == [(2, 2)]


def test_long_chunks_keep_half_a_sequence_of_context(tmp_path: Path) -> None:
    made = [([Event(b"k", b"%d" % n, n, float(n)) for n in range(25)], [])]
    (where,) = _run(tmp_path, made, transform_settings(length=10))
    weights_read = [(s.first_new, s.weights) for s in days.read_sequences(where.sequences)]
    assert weights_read == [
        (0, tuple(map(float, range(10)))),
        (5, tuple(map(float, range(5, 15)))),
        (5, tuple(map(float, range(10, 20)))),
        (5, tuple(map(float, range(15, 25)))),
    ]


def test_slices_are_by_the_counts_before_the_span(tmp_path: Path) -> None:
    seen = [Event(b"warm", b"warm", n, 1.0) for n in range(3)] + [Event(b"cold", b"cold", 5, 1.0)]
    asked = [Event(name, name, 100, 1.0) for name in (b"warm", b"cold", b"new")]
    made = [(seen, []), ([Event(b"new", b"new", 50, 1.0)], asked)]
    *_, where = _run(tmp_path, made, transform_settings(cold_below=2, item_min_count=3))
    by_item = {position.item: position for position in days.read_held_out(where.held_out)}
    assert {item: position.item_slice for item, position in by_item.items()} == {name: name for name in by_item}
    assert {item: position.key_slice for item, position in by_item.items()} == {name: name for name in by_item}
    assert {item: position.item_row for item, position in by_item.items()} == {b"warm": 2, b"cold": 1, b"new": 1}


@pytest.mark.parametrize("shards", [2, 8])
def test_the_number_of_shards_changes_only_the_order(tmp_path: Path, shards: int) -> None:
    made = _days(3)
    single = _run(tmp_path / "one", made, transform_settings(length=7, item_min_count=2, key_min_count=2))
    many = _run(tmp_path / "many", made, transform_settings(length=7, item_min_count=2, key_min_count=2), shards)
    for a, b in zip(single, many, strict=True):
        assert days.bytes_of(a.vocabulary) == days.bytes_of(b.vocabulary)
        assert Counter(days.read_sequences(a.sequences)) == Counter(days.read_sequences(b.sequences))
        assert Counter(days.read_held_out(a.held_out)) == Counter(days.read_held_out(b.held_out))
        assert days.read_history(a.history) == days.read_history(b.history)
    assert len(history.shards_in(many[-1].history)) == shards


@pytest.mark.parametrize("shards", [1, 4])
def test_beam_writes_the_same_bytes(tmp_path: Path, shards: int) -> None:
    made = _days(2)
    plain = _run(tmp_path / "plain", made, transform_settings(), shards)
    beamed = _run(tmp_path / "beam", made, transform_settings(), shards, run=days.run_beam)
    for a, b in zip(plain, beamed, strict=True):
        written = days.bytes_of(a.sequences, a.held_out, a.vocabulary, a.history)
        assert written == days.bytes_of(b.sequences, b.held_out, b.vocabulary, b.history)
        assert len(written) == 4 * shards + 4


@pytest.mark.parametrize("held_out", [0, 3])
def test_held_out_events_are_found_without_reading_the_rest(tmp_path: Path, held_out: int) -> None:
    (where,) = _run(tmp_path, _days(1, held_out), transform_settings())
    (path,) = history.shards_in(where.history)
    metadata = pq.read_metadata(path)
    groups = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
    rows = days.read_history(where.history)
    waiting = {key for key, row in rows.items() if row["held_out"]}
    assert groups == ([len(waiting), len(rows) - len(waiting)] if held_out else [len(rows)])
    assert set(history.read_held_out(path)["key"].to_pylist()) == waiting


def test_a_missing_shard_is_noticed(tmp_path: Path) -> None:
    (where,) = _run(tmp_path, _days(1), transform_settings(), shards=2)
    history.shards_in(where.history)[1].unlink()
    with pytest.raises(ValueError, match=r"must hold all of its shards\. Received: 1 of 2"):
        history.shards_in(where.history)


def test_a_failed_write_leaves_no_half_written_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from components.span_transform import examples

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(examples.tf.io.TFRecordWriter, "write", full)
    with pytest.raises(OSError, match="No space left"):
        _run(tmp_path, _days(1), transform_settings())
    assert [path for path in (tmp_path / "sequences").rglob("*") if path.is_file()] == []
