"""TensorBoard reads back what was written: one axis for all days, and a rerun replaces its day."""

from __future__ import annotations

from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray

from pipeline.config import Config
from pipeline.monitoring.tensorboard.axis import axis, current_axis
from pipeline.monitoring.tensorboard.event_files import FILE, event, scalar, write_events
from pipeline.monitoring.tensorboard.span_writer import write_span
from tests.pipeline.hand_made_ledger import failed_run, make_run, skipped_run

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture
def config(tmp_path: Path) -> Config:
    data = {"path": "events", "columns": {"key": "user_id", "item": "item_id", "timestamp": "timestamp"}}
    return Config.model_validate({"name": "shop", "root": tmp_path / "run", "data": data})


FIRST = "days since 2024-05-01"


def read(config: Config, name: str) -> dict[str, list[tuple[int, float]]]:
    """Each tag's steps and values, as TensorBoard finds them."""
    events = EventAccumulator(str(config.logs_path / FIRST / name), size_guidance={"tensors": 0})
    events.Reload()
    return {
        tag: [(point.step, float(make_ndarray(point.tensor_proto))) for point in events.Tensors(tag)]
        for tag in events.Tags()["tensors"]
        if events.SummaryMetadata(tag).plugin_data.plugin_name == "scalars"
    }


def decisions(config: Config) -> list[tuple[int, str]]:
    events = EventAccumulator(str(config.logs_path / FIRST / "span"), size_guidance={"tensors": 0})
    events.Reload()
    return [(point.step, make_ndarray(point.tensor_proto).item().decode()) for point in events.Tensors("decision")]


@pytest.fixture(autouse=True)
def ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first day that was ever run: the runs here are in no store."""
    monkeypatch.setattr("pipeline.monitoring.tensorboard.axis.first_span", lambda config: make_run("2024-05-01").span)


def test_all_days_stand_on_one_axis_and_agree_with_the_ledger(config):
    runs = [make_run(f"2024-05-{day:02d}") for day in (1, 2, 4)]
    for run in runs:
        write_span(config, run)
    span = read(config, "span")
    steps = [0, 1, 3]
    days = list(zip(steps, runs, strict=True))
    assert span["data/events"] == [(step, run.events) for step, run in days]
    assert span["tables/item_rows"] == [(step, run.item_rows) for step, run in days]
    assert span["seconds/Evaluator"] == [(step, run.seconds["Evaluator"]) for step, run in days]
    for name in ("candidate", "champion"):
        of_run = read(config, name)
        assert {tag for tag in of_run if tag.startswith("gate/")} == {"gate/recall", "gate/ndcg"}
        assert of_run["gate/recall"] == [(step, pytest.approx(getattr(run, name)["recall"])) for step, run in days]
    next_span = [(step, pytest.approx(run.next_span["recall"])) for step, run in days]
    assert read(config, "champion")["next_span/recall"] == next_span
    assert [step for step, _ in decisions(config)] == steps


def test_a_rerun_replaces_its_day_and_no_other(config):
    first, second = make_run("2024-05-01"), make_run("2024-05-02", events=100)
    for run in (first, second, make_run("2024-05-02", revision=2, events=200, reason="Again.")):
        write_span(config, run)
    assert read(config, "span")["data/events"] == [(0, first.events), (1, 200.0)]
    points = decisions(config)
    assert [step for step, _ in points] == [0, 1]
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
    assert [step for step, _ in read(config, "span")["data/events"]] == [0, 1]


def test_an_earlier_day_moves_all_that_was_written_to_its_axis(config, monkeypatch):
    def first(name: str) -> None:
        monkeypatch.setattr("pipeline.monitoring.tensorboard.axis.first_span", lambda config: make_run(name).span)

    later = make_run("2024-05-03")
    first("2024-05-03")
    assert write_span(config, later).name == "days since 2024-05-03"
    first("2024-05-01")
    write_span(config, make_run("2024-05-01"))
    assert [path.name for path in config.logs_path.iterdir()] == [FIRST]
    assert [step for step, _ in read(config, "champion")["gate/recall"]] == [0, 2]
    assert [step for step, _ in decisions(config)] == [0, 2]


def test_what_an_earlier_version_wrote_is_moved_with_its_tags(config):
    run = make_run("2024-05-03")
    former = {
        "span": {"next_span/recall": 0.2, "next_span_slices/recall/item_new": 0.1, "data/events": 9.0},
        "candidate": {"gate/recall": 0.3, "gate_slices/recall/item_new": 0.25},
        "champion": {"gate/recall": 0.25, "gate_slices/recall/item_new": 0.2},
    }
    for name, scalars in former.items():
        path = config.logs_path / "spans" / name / FILE.format(span=run.span)
        write_events(path, [event(run.span, 1.0, [scalar(tag, value) for tag, value in scalars.items()])])
    folder, first = current_axis(config)
    assert (folder.name, first) == (FIRST, make_run("2024-05-01").span)
    assert not (config.logs_path / "spans").exists()
    assert read(config, "span") == {"data/events": [(2, 9.0)]}
    assert read(config, "champion") == {
        "gate/recall": [(2, pytest.approx(0.25))],
        "next_span/recall": [(2, pytest.approx(0.2))],
    }
    assert read(config, "new") == {
        "next_span_slices/recall/item": [(2, pytest.approx(0.1))],
        "gate_slices/recall/item/candidate": [(2, pytest.approx(0.25))],
        "gate_slices/recall/item/champion": [(2, pytest.approx(0.2))],
        "gate_slices/recall/item/difference": [(2, pytest.approx(0.05))],
    }


def test_spans_that_are_no_days_keep_their_numbers(config):
    numbered = config.model_copy(update={"data": config.data.model_copy(update={"pattern": "{SPAN}/*"})})
    assert axis(numbered, 7) == (config.logs_path / "span numbers", 0)
