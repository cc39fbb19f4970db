"""Keys that end, as sessions do: what is kept of them from hour to hour does not grow."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from components.span_transform import Settings, history
from tests.components.span_transform_days import folders, read_sequences, run_beam, write_events
from tests.components.span_transform_reference import Event
from trainer.vocabulary import Vocabulary

HOUR = 3_600_000
KEPT = Settings(5, 1, 1, 1, 7.0, 5, 0.5)
ENDING = dataclasses.replace(KEPT, keys_end_after=2.0)


def hour(number: int) -> dict[str, list[Event]]:
    """Two sessions of the hour, the second with an event that is held out, and one that goes on for good."""
    at = number * HOUR

    def event(key: str, item: str, minutes: int) -> Event:
        return Event(key.encode(), item.encode(), at + minutes * 60_000, 1.0)

    train = [event(f"a{number}", "x", 1), event(f"b{number}", "y", 2), event("long", "z", 3)]
    return {"train": train, "eval": [event(f"b{number}", "z", 50)]}


def run(root: Path, settings: Settings, hours: int, shards: int) -> None:
    for number in range(1, hours + 1):
        files = {split: write_events(root / f"events-{number}", split, [rows]) for split, rows in hour(number).items()}
        where = folders(root, number, number - 1 if number > 1 else None)
        run_beam(files, shards, number, where, settings)


def keys_of(root: Path, number: int) -> set[bytes]:
    paths = history.shards_in(root / "history" / str(number))
    return {key for path in paths for key in history.read_file(path)["key"].to_pylist()}


@pytest.mark.parametrize("shards", [1, 2])
def test_a_key_that_had_no_event_for_so_long_is_kept_no_more_and_the_learned_sequences_are_the_same(tmp_path, shards):
    hours = 5
    for name, settings in (("kept", KEPT), ("ending", ENDING)):
        run(tmp_path / name, settings, hours, shards)
    every = {f"{key}{number}".encode() for key in "ab" for number in range(1, hours + 1)} | {b"long"}
    assert keys_of(tmp_path / "kept", hours) == every
    # The latest event before the last hour is at 4:50: over is what had none since 2:50, which b2 just had.
    gone = {b"a1", b"b1", b"a2"}
    assert keys_of(tmp_path / "ending", hours) == every - gone
    for number in range(1, hours + 1):
        # Rows of keys aside, of which there are none.
        learned, kept = (
            sorted((sequence.key, sequence.items, sequence.first_new) for sequence in read_sequences(folder))
            for folder in (tmp_path / name / "sequences" / str(number) for name in ("ending", "kept"))
        )
        assert learned == kept


def test_no_key_that_ends_gets_a_row_and_its_count_is_kept_for_a_span_and_the_next(tmp_path):
    run(tmp_path, ENDING, 4, 1)
    keys = Vocabulary.load(tmp_path / "vocabulary" / "4", "keys")
    assert len(keys.ids) == 0
    # What an hour holds out is counted in the next: b3 in hours 3 and 4.
    assert set(keys.pending["id"].to_pylist()) == {b"a3", b"b3", b"a4", b"b4", b"long"}
    assert keys.trained_counts([b"b3", b"a4", b"a2"]).tolist() == [2, 1, 0]
    items = Vocabulary.load(tmp_path / "vocabulary" / "4", "items")
    assert set(items.ids.to_pylist()) == {b"x", b"y", b"z"}
