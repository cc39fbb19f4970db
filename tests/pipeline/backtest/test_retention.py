"""Older spans are tested again: when, on what, and what is made of it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.backtest import find_policies, policy_run, retention
from pipeline.backtest.next_span import as_signature, evaluate_on
from pipeline.backtest.policy_run import PolicyRun
from pipeline.backtest.prepared_spans import PreparedSpan, prepare
from pipeline.backtest.results import Row
from pipeline.config import Config
from pipeline.parameters.graph_parameters import GraphParameters
from pipeline.planning.deliveries import read_deliveries
from tests.pipeline.backtest.backtest_shop import DAYS, deliver_shop, facts, run
from trainer import catch_up
from trainer.train_state import ModelState
from trainer.update import rebuild


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return deliver_shop(tmp_path_factory.mktemp("shop"), days=5)


@pytest.fixture(scope="module")
def spans(shop: Config, tmp_path_factory: pytest.TempPathFactory) -> list[PreparedSpan]:
    return prepare(shop, read_deliveries(shop), tmp_path_factory.mktemp("prepared") / "spans", lambda name: None)


@pytest.fixture(scope="module")
def kept(shop: Config, spans: list[PreparedSpan], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Row]]:
    """A finished run of four spans, of which the second is the older one."""
    folder = tmp_path_factory.mktemp("kept")
    return folder, run(shop, spans[:4], "fine-tune", folder)


def make_row(action: str, just_learned: float | None, retained: float | None) -> Row:
    return Row("policy", 1, "a", action, 9, {}, 1, 1, 1.0, just_learned=just_learned, retained=retained)


def test_by_hand(shop, spans, kept):
    """The model of each day, taken from what was kept, asked for all positions of the older span."""
    folder, rows = kept
    assert [row.retained is not None for row in rows] == [False, True, False, False]
    assert [row.just_learned is not None for row in rows] == [False, True, True, True]
    assert rows[1].retained == pytest.approx(recall(shop, folder / DAYS[3], spans[1]))
    shorter = folder.with_name("shorter")
    run(shop, spans[:2], "fine-tune", shorter)
    assert rows[1].just_learned == pytest.approx(recall(shop, shorter / DAYS[1], spans[1]))
    assert rows[1].just_learned != rows[1].metrics["recall"], "the next-span test came before"


def recall(shop: Config, kept: Path, span: PreparedSpan) -> float:
    model = rebuild(GraphParameters.of(shop).trainer.model, ModelState.load(kept / "state"))
    signature = as_signature(lambda *position: model.evaluate_positions(*position, shop.gate.k, shop.push.exclude_seen))
    return evaluate_on(span, signature, shop.history.length, weighted=True)[0]["recall"]


def test_a_run_that_was_cut_off_before_the_last_test_makes_up_for_it(shop, spans, kept, monkeypatch):
    folder, rows = kept
    monkeypatch.setattr(catch_up, "update", None)
    file = folder / DAYS[3] / "rows.json"
    raw = json.loads(file.read_text())
    raw[1]["retained"] = None
    file.write_text(json.dumps(raw))
    assert run(shop, spans[:4], "fine-tune", folder) == rows
    monkeypatch.setattr(policy_run, "evaluate", None)
    assert run(shop, spans[:4], "fine-tune", folder) == rows, "and then keeps it"


@pytest.mark.slow
@pytest.mark.exhaustive
def test_one_more_span_gives_what_all_at_once_give(shop, spans, tmp_path):
    """The older spans are then tested by the model of the new last span, and no longer by that of the old one."""
    before = run(shop, spans[:4], "fine-tune", tmp_path / "grown")
    grown = run(shop, spans, "fine-tune", tmp_path / "grown")
    assert grown[:4] != before
    assert facts(grown) == facts(run(shop, spans, "fine-tune", tmp_path / "at once"))


def test_without_retention_nothing_is_tested_again_and_the_rest_is_the_same(shop, spans, kept, tmp_path, monkeypatch):
    folder, rows = kept
    (policy,) = find_policies(["fine-tune"], shop)
    monkeypatch.setattr(policy_run, "evaluate", None)
    without = [dataclasses.replace(row, just_learned=None, retained=None) for row in rows]
    assert facts(PolicyRun(policy, 1, spans[:4], tmp_path, retention_spans=0).run()) == facts(without)
    assert PolicyRun(policy, 1, spans[:4], folder, retention_spans=0).run() == without, "nor told of an earlier run's"


def test_a_policy_that_never_learned_a_span_forgets_nothing_of_it(shop, spans, tmp_path):
    rows = run(shop, spans[:4], "never", tmp_path)
    assert retention.retention(rows) == pytest.approx(rows[1].metrics["recall"]), "its model is the same at the end"
    assert retention.backward_transfer(rows) is None


@pytest.mark.parametrize(
    ("count", "most", "expected"),
    [
        (1, 16, []),
        (3, 16, []),
        (4, 16, [1]),
        (8, 16, [1, 2, 3]),
        (9, 16, [1, 2, 3]),
        (10, 16, [1]),
        (20, 16, list(range(1, 12))),
        (20, 3, [1, 6, 11]),
        (20, 1, [1]),
        (20, 0, []),
    ],
)
def test_older_spans_lie_before_the_last_eight(count, most, expected):
    assert retention.older_spans(count, most) == expected


def test_a_large_span_is_tested_on_a_sample_that_stays_the_same(spans, monkeypatch):
    span = spans[1]
    every = span.sequences.positions(today_only=True), span.held_out
    assert [len(part) for part in retention.sample(span)] == [len(part) for part in every]
    monkeypatch.setattr(retention, "EVENTS", 30)
    once, again = retention.sample(span), retention.sample(span)
    assert sum(map(len, once)) == 30
    assert all(len(part) for part in once), "of the train part and of the held-out one"
    for part, same, whole in zip(once, again, every, strict=True):
        np.testing.assert_equal(dataclasses.asdict(part), dataclasses.asdict(same))
        positions = set(zip(whole.key, whole.timestamp, whole.target, strict=True))
        assert set(zip(part.key, part.timestamp, part.target, strict=True)) <= positions


def test_backward_transfer_is_the_mean_change_since_a_span_was_learned():
    first, last = make_row("cold_start", None, None), make_row("fine_tune", 0.9, None)
    older = [make_row("fine_tune", 0.5, 0.4), make_row("fine_tune", 0.6, 0.3), make_row("skip", None, 0.2)]
    assert retention.retention([first, *older, last]) == pytest.approx(0.3)
    assert retention.backward_transfer([first, *older, last]) == pytest.approx((-0.1 - 0.3) / 2)
    assert retention.retention([first, last]) is None
    assert retention.backward_transfer([first, last]) is None


def test_a_span_that_was_learned_untested_leaves_no_backward_transfer():
    """Else it would be the mean over other spans than another policy's."""
    rows = [make_row("fine_tune", None, 0.4), make_row("fine_tune", 0.6, 0.3)]
    assert retention.retention(rows) == pytest.approx(0.35)
    assert retention.backward_transfer(rows) is None
