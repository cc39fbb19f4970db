"""What passes between the benchmark and a system's process, and a whole run of one that needs no other environment."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.peers.__main__ import run, table
from benchmarks.peers.peer import Sessions, joined
from benchmarks.peers.systems import SYSTEMS
from benchmarks.session_spans import SessionSpans

of_sessions = st.lists(st.lists(st.integers(1, 9), max_size=6), max_size=6)


def sessions(lists: list[list[int]]) -> Sessions:
    splits = np.cumsum([0, *map(len, lists)])
    return Sessions(np.array([item for items in lists for item in items], np.int64), splits.astype(np.int64))


def as_lists(of: Sessions) -> list[list[int]]:
    return [of.items[begin:end].tolist() for begin, end in zip(of.splits, of.splits[1:], strict=False)]


@given(of_sessions)
def test_every_event_but_the_first_is_asked_for_by_what_came_before(lists: list[list[int]]) -> None:
    histories, wanted = sessions(lists).prefixes()
    expected = [(items[:at], items[at]) for items in lists for at in range(1, len(items))]
    assert list(zip(as_lists(histories), wanted.tolist(), strict=True)) == expected


@given(of_sessions, st.integers(1, 7))
def test_the_last_events_are_kept(lists: list[list[int]], length: int) -> None:
    rows = sessions(lists).padded(length).tolist()
    assert rows == [(items[-length:] + [0] * length)[:length] for items in lists]


@given(st.lists(of_sessions, min_size=1, max_size=3))
def test_spans_are_joined_in_their_order(spans: list[list[list[int]]]) -> None:
    assert as_lists(joined([sessions(lists) for lists in spans])) == [items for lists in spans for items in lists]


@pytest.mark.slow
def test_a_system_is_told_of_spans_and_asked_in_a_process_of_its_own(tmp_path: Path) -> None:
    pair = [2, 3, 2, 3]
    spans = SessionSpans(np.array([*pair, 4, 5, *pair, *pair]), np.array([0, 4, 6, 10, 14]), np.array([0, 2, 3, 4]))
    (first, second) = run(spans, SYSTEMS["sequential rules"], 1, [1, 2], tmp_path / "rules" / "seed-1")
    assert first["recall@20"] == first["mrr@20"] == second["recall@20"] == 100.0, "3 after 2, and 2 after 3"
    assert (first["cycle"], first["positions"], second["cycle"]) == (1, 3, 2)
    assert min(first["train_processor_seconds"], first["peak_bytes"] - 1) >= 0
    again = run(spans, SYSTEMS["sequential rules"], 1, [1, 2], tmp_path / "rules" / "seed-1")
    assert again == [first, second], "it goes on where it was"
    assert table({"sequential rules": [{"seed": 1, "cycles": again}]}).row_count == 1


def test_lines_are_counted_without_what_is_not_code() -> None:
    source = Path("benchmarks/peers/implicit_als.py").read_text(encoding="utf-8").splitlines()
    assert 15 < SYSTEMS["implicit ALS"].lines < len([line for line in source if line.strip()])
