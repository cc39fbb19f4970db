"""The benchmark asks what the published protocol asks, and goes on where it was stopped."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from benchmarks import continual_sessions
from benchmarks.continual_sessions import run
from benchmarks.session_policies import POLICIES, SessionPolicy
from benchmarks.session_results import gather, table
from benchmarks.session_spans import read_spans
from benchmarks.training_speed import one_a_prefix
from trainer.sequence_windows import Windows

COLUMNS = ("session_id", "item_id", "timestamp")
TINY = {"dimension": 8, "negatives": 20, "neighbours": 4}


def deliver(folder: Path, spans: list[list[tuple[str, str, int]]]) -> Path:
    for number, rows in enumerate(spans):
        day = folder / "events" / f"2024-05-{number + 1:02}"
        day.mkdir(parents=True)
        table = pa.table(dict(zip(COLUMNS, zip(*rows, strict=True), strict=True)))
        pyarrow.parquet.write_table(table, day / "events.parquet")
    return folder / "events"


def shop(folder: Path, spans: int = 4) -> Path:
    random = np.random.default_rng(3)
    made = []
    for number in range(spans):
        rows = []
        for session in range(60):
            start, time = int(random.integers(0, 30)), int(random.integers(0, 1000))
            rows += [(f"{number}-{session}", f"i{(start + step) % 30}", time + step) for step in range(4)]
        made.append(rows)
    return deliver(folder, made)


def tiny(policy: SessionPolicy) -> SessionPolicy:
    spec = dataclasses.replace(policy.spec, params={**policy.spec.params, **TINY})
    return dataclasses.replace(
        policy, spec=spec, update=dataclasses.replace(policy.update, epochs=1, cold_epochs=1, batch_size=32)
    )


def test_sessions_are_read_in_the_order_of_their_events_and_cut_at_the_spans(tmp_path: Path) -> None:
    first = [("s1", "b", 20), ("s2", "c", 15), ("s1", "a", 10), ("s1", "b", 30)]
    second = [("s1", "d", 40), ("s3", "a", 50), ("s3", "d", 60), ("s3", "c", 70), ("s4", "d", 80), ("s4", "a", 90)]
    spans = read_spans(deliver(tmp_path, [first, second]), *COLUMNS)
    a, c, b = 2, 3, 4  # rows in order of first appearance
    sequences = spans.sequences(0)
    assert sequences.items.tolist() == [a, b, b, c]
    assert sequences.splits.tolist() == [0, 3, 4]
    assert (spans.events(0), spans.events(1), spans.items_until(0), spans.items_until(1)) == (4, 6, 5, 6)
    # d was not seen before cycle 1: s1 is gone, s3 is a c, s4 is alone and gone.
    asked = spans.test_positions(1)
    assert [asked.items[b:e].tolist() for b, e in zip(asked.begin, asked.end, strict=True)] == [[a]]
    assert asked.target.tolist() == [c]


def test_what_is_held_out_is_a_share_of_the_sessions_and_no_session_is_lost(tmp_path: Path) -> None:
    spans = read_spans(shop(tmp_path), *COLUMNS)
    kept, held_out = spans.split(0, 0.3, seed=1)
    assert len(kept) + len(held_out) == len(spans.sequences(0))
    assert 0.1 < len(held_out) / 60 < 0.5
    popular = spans.popularity(0, 2.0, held_out)
    assert popular.sum() == len(kept.items)
    aged = spans.popularity(1, 2.0, spans.sequences(1))
    np.testing.assert_allclose(aged, (popular + np.bincount(held_out.items, minlength=len(popular))) * 0.5**0.5)


def test_the_protocol_asks_as_many_positions_as_the_paper(diginetica: Path) -> None:
    spans = read_spans(diginetica / "events", *COLUMNS)
    with (diginetica / "DIGINETICA_period_stats.csv").open(newline="") as file:
        counts = {int(row["period"]): row for row in csv.DictReader(file)}
    for cycle in (1, 8, 16):
        assert len(spans.test_positions(cycle)) == float(counts[cycle]["eval_subseq"])
        assert spans.events(cycle) == int(counts[cycle]["actions"])
        assert spans.items_until(cycle - 1) - spans.first_row == int(counts[cycle - 1]["cum_items"])


def test_it_goes_on_where_it_was_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spans = read_spans(shop(tmp_path), *COLUMNS)
    policy = tiny(POLICIES["best"])
    whole = run(spans, policy, 1, [1, 2], tmp_path / "whole" / "best" / "seed-1")
    folder = tmp_path / "parts" / "best" / "seed-1"
    run(spans, policy, 1, [1], folder)
    learned: list[int] = []
    learn = continual_sessions.learn_cycle
    monkeypatch.setattr(continual_sessions, "learn_cycle", lambda *args: learned.append(args[3]) or learn(*args))
    parts = run(spans, policy, 1, [1, 2], folder)
    assert learned == [2]
    assert [row["metrics"] for row in parts] == [row["metrics"] for row in whole]
    assert [row["cycle"] for row in gather(tmp_path / "whole")["best"][0]["cycles"]] == [1, 2]


def test_joint_learns_all_history_and_its_cost_is_the_measure(tmp_path: Path) -> None:
    spans = read_spans(shop(tmp_path), *COLUMNS)
    for name in ("joint", "best"):
        run(spans, tiny(POLICIES[name]), 1, [1, 3], tmp_path / "out" / name / "seed-1")
    runs = gather(tmp_path / "out")
    first, third = runs["joint"][0]["cycles"]
    assert third["examples"] > 2.5 * first["examples"]
    shown = table(runs)
    assert shown.row_count == 2
    cells = {str(column.header): [str(cell) for cell in column.cells] for column in shown.columns}
    of_joint = third["metrics"]["recall@20"] / 2 + first["metrics"]["recall@20"] / 2
    assert cells["recall@20, joint's cycles"][cells["policy"].index("joint")] == f"{of_joint:.2f}"
    assert "%" in cells["of joint's"][cells["policy"].index("best")]
    assert float(cells["an event, last/2nd cycle"][cells["policy"].index("best")]) > 0


def test_a_prefix_each_is_the_same_positions(tmp_path: Path) -> None:
    windows = Windows.of(read_spans(shop(tmp_path), *COLUMNS).sequences(0), 20)
    prefixes = one_a_prefix(windows)
    assert len(prefixes) == prefixes.positions == windows.positions
    assert (prefixes.targets == 1).all()
    assert sorted(zip(prefixes.begin, prefixes.end, strict=True)) == sorted(
        (begin, at)
        for begin, first, end in zip(windows.begin, windows.first, windows.end, strict=True)
        for at in range(first, end + 1)
    )
