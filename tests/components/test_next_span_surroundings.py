"""What the champion's figures stand beside: most popular items, bounds of both, what it recommends."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from components import artifacts
from components.next_span_evaluator.component import Executor
from components.next_span_evaluator.surroundings import (
    clusters,
    popular_before,
    popularity_ranks,
    ranked,
)
from components.surroundings import SURROUNDINGS, Surroundings
from components.update_decider.decision import Decision
from tests.components.trained_days import HISTORY, ITEMS, KEYS, made, make_day, train
from trainer.input_pipeline import Positions, Sequences
from trainer.keras2 import tf
from trainer.metrics import mask_scores, rank_of, ranking_metrics
from trainer.vocabulary import Vocabulary

FIRST = 2


def positions(rows: int, count: int, seed: int = 0) -> Positions:
    random = np.random.default_rng(seed)
    begin = np.arange(count) * 6
    end = begin + random.integers(0, 6, count)
    items, target = random.integers(1, rows + 1, 6 * count), random.integers(1, rows + 1, count)
    return Positions(items, begin, end, np.arange(count), target, np.ones(count, np.float32), np.arange(count))


@pytest.mark.parametrize("exclude_seen", [True, False])
def test_the_most_popular_items_are_ranked_as_a_model_that_scores_them_so(exclude_seen: bool) -> None:
    part, popularity = positions(rows=12, count=80), np.array([0, 0, 3, 1, 1, 0, 7, 2, 2, 2, 0, 5], np.float64)
    ranks = popularity_ranks(part, popularity, FIRST, HISTORY, exclude_seen)
    (batch,) = part.dataset(80, HISTORY)
    scores = tf.tile(tf.constant(popularity, tf.float32)[None, :], [80, 1])
    masked = mask_scores(scores, FIRST, batch["history"] if exclude_seen else None, keep=batch["item"])
    wanted = rank_of(masked, batch["item"], FIRST)
    assert ranks.tolist() == wanted.numpy().tolist()
    for name, of in ranking_metrics(wanted, 3).items():
        assert ranked(ranks, 3)[name] == pytest.approx(of.numpy(), abs=1e-6)


def sequences(items: list[int], first_new: int, first_today: int) -> Sequences:
    rows = np.array(items)
    return Sequences(
        rows, rows, np.ones(len(rows), np.float32), np.array([0, len(rows)]), np.array([2]), np.array([first_new]),
        np.array([first_today]),
    )  # fmt: skip


def test_the_spans_own_events_are_not_popular_before_it() -> None:
    before = Vocabulary.empty(1).grow([b"a", b"a", b"a", b"b"], 1, min_count=1, half_life=2.0)
    # Of the day before `b` was held out and is released; `b` and `c` came today.
    items = before.grow([b"b", b"b", b"c"], 3, min_count=1, half_life=2.0)
    popularity, there = popular_before(sequences([2, 3, 3, 4], first_new=1, first_today=2), items)
    assert popularity.tolist() == [0, 0, 1.5, 0.5 + 1, 0]
    assert there.tolist() == [False, False, True, True, False]


def test_events_of_a_key_belong_together_and_strangers_to_nobody() -> None:
    part = Positions(
        np.arange(6), np.array([0, 0, 3, 4]), np.array([1, 2, 4, 5]), np.array([5, 5, 1, 1]), np.zeros(4, np.int64),
        np.ones(4, np.float32), np.arange(4),
    )  # fmt: skip
    numbers = clusters((part, part), FIRST).tolist()
    assert numbers[:2] == numbers[4:6] == [5, 5]
    assert len(set(numbers)) == 1 + 4


def test_the_component_records_them_in_ml_metadata(tmp_path: Path) -> None:
    first = make_day(tmp_path / "days", 7, 4, [(2, [2, 3, 4, 5], 0), (3, [4, 2], 0)])
    champion = train(tmp_path, first, Decision("cold_start", "", (7,)))
    day = make_day(tmp_path / "days", 8, 4, [(2, [2, 3, 4, 5, 2], 3), (3, [4, 2, 5, 3], 2)])
    # Three of the first day's items, one most often; then what the second day trains on.
    items = Vocabulary.empty(1).grow([*[ITEMS[0]] * 9, *ITEMS[1:4]], 7, min_count=1, half_life=7.0)
    rows = [5, 2, 5, 3]
    items.grow([ITEMS[row - FIRST] for row in rows], 8, 1, 7.0).save(day.vocabulary.uri, "items")
    Vocabulary.empty(1).grow(KEYS, 8, 1, 7.0).save(day.vocabulary.uri, "keys")
    inputs = {
        "sequences": [day.sequences], "held_out": [day.held_out], "model": [champion], "vocabulary": [day.vocabulary],
    }  # fmt: skip

    def surroundings(folder: Path, **asked: int) -> Surroundings:
        output = made(artifacts.NextSpanEvaluation, folder)
        properties = {"span": 8, "history_length": HISTORY, "cold_below": 5, **asked}
        Executor(Executor.Context()).Do(inputs, {"evaluation": [output]}, properties)
        metrics = json.loads((folder / "metrics.json").read_text())
        written = Surroundings.from_json(output.get_string_custom_property(SURROUNDINGS))
        assert written.slices == json.loads((folder / "slices.json").read_text())
        for name, (mean, lower, upper) in written.champion.items():
            assert lower < mean < upper
            assert mean == pytest.approx(metrics[name])
        return written

    with_k = surroundings(tmp_path / "with", k=1)
    # Of six events (four to train on, two held out) only row 2 was the most popular item.
    assert with_k.popularity["recall"][0] == pytest.approx(2 / 6)
    assert with_k.gain["recall"][0] == pytest.approx(with_k.champion["recall"][0] - 2 / 6)
    assert set(with_k.served_lists) == {"coverage", "distinct_items", "gini", "users", "recommended", "taken"}
    assert with_k.served_lists["users"] == 4
    assert 0 < with_k.served_lists["coverage"] <= 1
    assert 0 <= with_k.served_lists["recommended"] <= 1
    unseen = surroundings(tmp_path / "unseen", k=1, exclude_seen=1)
    # Of what is left the item that came was once not the first: another was as popular.
    assert unseen.popularity["recall"][0] == pytest.approx(5 / 6)
    assert surroundings(tmp_path / "without").popularity == {}
