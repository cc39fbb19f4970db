"""TensorBoard reads back what was written: one axis for all days, and a rerun replaces its day."""

from __future__ import annotations

from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray

from pipeline.config import Config
from pipeline.monitoring.tensorboard.span_writer import write_span
from tests.pipeline.hand_made_ledger import failed_run, make_run, skipped_run

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture
def config(tmp_path: Path) -> Config:
    data = {"path": "events", "columns": {"key": "user_id", "item": "item_id", "timestamp": "timestamp"}}
    return Config.model_validate({"name": "shop", "root": tmp_path / "run", "data": data})


def read(config: Config, name: str) -> dict[str, list[tuple[int, float]]]:
    """Each tag's steps and values, as TensorBoard finds them."""
    events = EventAccumulator(str(config.logs_path / "spans" / name), size_guidance={"tensors": 0})
    events.Reload()
    return {
        tag: [(point.step, float(make_ndarray(point.tensor_proto))) for point in events.Tensors(tag)]
        for tag in events.Tags()["tensors"]
        if events.SummaryMetadata(tag).plugin_data.plugin_name == "scalars"
    }


def decisions(config: Config) -> list[tuple[int, str]]:
    events = EventAccumulator(str(config.logs_path / "spans" / "span"), size_guidance={"tensors": 0})
    events.Reload()
    return [(point.step, make_ndarray(point.tensor_proto).item().decode()) for point in events.Tensors("decision")]


def test_all_days_stand_on_one_axis_and_agree_with_the_ledger(config):
    runs = [make_run(f"2024-05-{day:02d}") for day in (1, 2, 4)]
    for run in runs:
        write_span(config, run)
    span = read(config, "span")
    assert span["data/events"] == [(run.span, run.events) for run in runs]
    assert span["tables/item_rows"] == [(run.span, run.item_rows) for run in runs]
    assert span["next_span/recall"] == [(run.span, pytest.approx(run.next_span["recall"])) for run in runs]
    assert span["seconds/Evaluator"] == [(run.span, run.seconds["Evaluator"]) for run in runs]
    for name in ("candidate", "champion"):
        of_gate = read(config, name)
        assert set(of_gate) == {"gate/recall", "gate/ndcg"}
        assert of_gate["gate/recall"] == [(run.span, pytest.approx(getattr(run, name)["recall"])) for run in runs]
    assert [step for step, _ in decisions(config)] == [run.span for run in runs]


def test_a_rerun_replaces_its_day_and_no_other(config):
    first, second = make_run("2024-05-01"), make_run("2024-05-02", events=100)
    for run in (first, second, make_run("2024-05-02", revision=2, events=200, reason="Again.")):
        write_span(config, run)
    assert read(config, "span")["data/events"] == [(first.span, first.events), (second.span, 200.0)]
    points = decisions(config)
    assert [step for step, _ in points] == [first.span, second.span]
    assert "Again." in points[-1][1]


def test_a_rerun_that_comes_to_less_leaves_nothing_of_the_old_one(config):
    write_span(config, make_run("2024-05-01"))
    write_span(config, skipped_run("2024-05-01"))
    assert read(config, "candidate") == {}
    write_span(config, failed_run("2024-05-02"))
    assert set(read(config, "span")) >= {"seconds/SpanExampleGen", "data/events"}
    assert len(read(config, "span")["data/events"]) == 1


def test_days_written_out_of_order_are_read_in_order(config):
    later, earlier = make_run("2024-05-02"), make_run("2024-05-01")
    for run in (later, earlier):
        write_span(config, run)
    assert [step for step, _ in read(config, "span")["data/events"]] == [earlier.span, later.span]
