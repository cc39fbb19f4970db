"""What is known of a user at events goes with the user, and of nobody else anything."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from pipeline.erasure.formats.registry import format_of
from pipeline.erasure.id_matcher import IdMatcher
from pipeline.erasure.learned_rows import erase_in_memory
from tests.components.query_days import TRANSFORM, as_csv, read_day, span_of, transform_day
from trainer.features.declaration import Feature
from trainer.held_out_parts import held_out_files
from trainer.input_pipeline import read_held_out, read_sequences
from trainer.settings import SelectionName
from trainer.stability.replay_memory import ReplayMemory
from trainer.stability.selection import find_selection

FIRST, SECOND = "2024-05-01", "2024-05-02"
FEATURES = (Feature(name="country", kind="category"), Feature(name="age", kind="number"))
SETTINGS = dataclasses.replace(TRANSFORM, query_features=FEATURES)
LEAVES, STAYS = "who leaves", "who stays"
RESERVOIR: SelectionName = "reservoir"


def day_of(date: str) -> str:
    start = span_of(date) * 86_400
    known = {LEAVES: {"country": "atlantis", "age": "99"}, STAYS: {"country": "norway", "age": "41"}}
    rows = [
        {"user": user, "film": f"film {place}", "at": start + 10 * place + (user == STAYS), **known[user]}
        for place in range(10)
        for user in (LEAVES, STAYS)
    ]
    return as_csv(rows, ("user", "film", "at", "country", "age"))


def erase(folder: Path) -> None:
    matcher = IdMatcher.of([LEAVES.encode()])
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            format_of(path).redact(path, matcher)


def test_events_sequences_and_history_lose_the_user_with_all_that_is_known(tmp_path):
    ingested = read_day(tmp_path, FIRST, day_of(FIRST), features=FEATURES)
    where = transform_day(tmp_path / "state", ingested, FIRST, settings=SETTINGS)
    for folder in (str(ingested.uri), where.sequences, where.held_out, where.history):
        erase(Path(folder))
    assert {event["feature_country"] for event in ingested.all_events} == {b"norway"}
    sequences = read_sequences(sorted(str(path) for path in Path(where.sequences).rglob("*.gz")))
    positions, _ = read_held_out(held_out_files(where.held_out))
    for values in (sequences.query_features, positions.query_features):
        assert set(values["feature_age"].tolist()) == {41.0}
        assert len(np.unique(values["feature_country"])) == 1
    kept = [row for path in Path(where.history).glob("*.parquet") for row in pq.read_table(path).to_pylist()]
    assert [row["key"] for row in kept] == [STAYS.encode()]
    assert [value for value in kept[0]["feature_country"] if value is not None] == [b"norway"] * 2

    # The next day goes on from what is left.
    after = transform_day(
        tmp_path / "state", read_day(tmp_path, SECOND, day_of(SECOND), features=FEATURES), SECOND, FIRST, SETTINGS
    )
    of_today = read_sequences(sorted(str(path) for path in Path(after.sequences).rglob("*.gz")))
    first_day = of_today.positions().timestamp < span_of(SECOND) * 86_400_000
    assert set(of_today.positions().query_features["feature_age"][first_day].tolist()) == {41.0}


def test_the_replay_memory_loses_the_users_exemplars(tmp_path):
    where = transform_day(
        tmp_path / "state", read_day(tmp_path, FIRST, day_of(FIRST), features=FEATURES), FIRST, settings=SETTINGS
    )
    sequences = read_sequences(sorted(str(path) for path in Path(where.sequences).rglob("*.gz")))
    memory = ReplayMemory.empty(10).add(1, sequences, 1, find_selection(RESERVOIR, 7.0))
    memory.save(tmp_path / "memory.npz")
    first_ages = memory.sequences.query_features["feature_age"][memory.sequences.splits[:-1]]
    leaving = {int(key) for key in memory.sequences.key[first_ages == 99]}
    assert erase_in_memory(tmp_path / "memory.npz", leaving, (), 2) == 1
    left = ReplayMemory.load(tmp_path / "memory.npz").sequences
    assert set(left.query_features["feature_age"].tolist()) == {41.0}
    assert len(left.query_features["feature_country"]) == len(left.items)
