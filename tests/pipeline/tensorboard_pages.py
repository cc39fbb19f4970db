"""What TensorBoard finds under a folder of logs, and whether it is what the ledger and the artifacts say."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.projector import projector_config_pb2
from tensorboard.util.tensor_util import make_ndarray

from components.span_pusher.verdict import Verdict
from pipeline.config import Config
from pipeline.ledger.runs import Run, read_ledger
from pipeline.monitoring.report.report_data import read_report_data
from pipeline.monitoring.tensorboard.axis import POPULARITY, current_axis

RUNS = ("span", "candidate", "champion", POPULARITY, "new", "cold", "warm")


class Pages:
    """One of TensorBoard's runs."""

    def __init__(self, folder: Path) -> None:
        self._events = EventAccumulator(str(folder), size_guidance={"tensors": 0})
        self._events.Reload()

    def of(self, plugin: str) -> dict[str, list[tuple[int, Any]]]:
        """Each tag's steps and values."""
        return {
            tag: [(point.step, make_ndarray(point.tensor_proto)) for point in self._events.Tensors(tag)]
            for tag in self._events.Tags()["tensors"]
            if self._events.SummaryMetadata(tag).plugin_data.plugin_name == plugin
        }

    @property
    def scalars(self) -> dict[str, dict[int, float]]:
        return {tag: {step: float(value) for step, value in points} for tag, points in self.of("scalars").items()}

    @property
    def days(self) -> list[float]:
        """The times of the events, which the axis `wall` shows."""
        return sorted({point.wall_time for tag in self.of("scalars") for point in self._events.Tensors(tag)})

    @property
    def layout(self) -> layout_pb2.Layout:
        ((_, value),) = self.of("custom_scalars")["custom_scalars__config__"]
        return layout_pb2.Layout.FromString(value.item())


def tags_of(layout: layout_pb2.Layout) -> list[str]:
    """Every expression that a chart looks for."""
    charts = [chart for category in layout.category for chart in category.chart]
    margins = [tag for chart in charts for of in chart.margin.series for tag in (of.value, of.lower, of.upper)]
    return [tag for chart in charts for tag in chart.multiline.tag] + [f"^{tag}$" for tag in margins]


def read_projector(folder: Path) -> tuple[Any, list[list[str]], list[list[str]]]:
    """The configuration, the rows of vectors, and the rows of titles with their head."""
    text = (folder / "projector_config.pbtxt").read_text()
    config = text_format.Parse(text, projector_config_pb2.ProjectorConfig())
    (shown,) = config.embeddings
    vectors, titles = (
        [line.split("\t") for line in (folder / name).read_text().splitlines()]
        for name in (shown.tensor_path, shown.metadata_path)
    )
    assert list(shown.tensor_shape) == [len(vectors), len(vectors[0])]
    assert len(titles) == len(vectors) + 1
    return shown, vectors, titles


def check_agreement(config: Config) -> None:
    """Holds every number of TensorBoard against the ledger, the verdict and the files beside the models."""
    folder, first = current_axis(config)
    pages = {name: Pages(folder / name).scalars if (folder / name).is_dir() else {} for name in RUNS}
    span, ledger = pages["span"], read_ledger(config)
    for run in ledger:
        step = run.span - first
        by_run = {
            name: {tag: values[step] for tag, values in scalars.items() if step in values}
            for name, scalars in pages.items()
        }
        day = by_run["span"]
        counts = {"events": run.events, "rejects": run.rejects, "duplicates": run.duplicates}
        counts |= {"new_items": run.new_items, "new_keys": run.new_keys}
        for name, value in counts.items():
            assert day[f"data/{name}"] == value
        assert (day["tables/item_rows"], day["tables/key_rows"]) == (run.item_rows, run.key_rows)
        assert day["decision/pushed"] == (run.pushed is not None)
        for node, value in run.seconds.items():
            assert day[f"seconds/{node}"] == pytest.approx(value)
        assert day["seconds/total"] == pytest.approx(sum(run.seconds.values()))
        nodes = {tag for tag in day if tag.startswith("bytes/")} - {"bytes/total"}
        assert day["bytes/total"] == sum(day[tag] for tag in nodes)
        assert {tag: day[f"served_lists/{tag}"] for tag in run.surroundings.served_lists} == pytest.approx(
            run.surroundings.served_lists
        )
        verdict = read_report_data(config, [run]).verdict
        assert (verdict is None) == (not run.verdict)
        next_span = {f"next_span/{metric}": value for metric, value in run.next_span.items()}
        popular = {f"next_span/{metric}": value[0] for metric, value in run.surroundings.popularity.items()}
        assert by_run["candidate"] == pytest.approx(
            {f"gate/{metric}": value for metric, value in run.candidate.items()}
        )
        assert by_run["champion"] == pytest.approx(
            next_span | {f"gate/{metric}": value for metric, value in run.champion.items()}
        )
        assert by_run[POPULARITY] == pytest.approx(popular)
        for label in ("new", "cold", "warm"):
            assert by_run[label] == pytest.approx(_of_slice(run, verdict, label))
    _check_health(config, span, first)
    layout = Pages(folder / "span").layout
    assert f"step 0 = {ledger[0].name}" in layout.category[0].title
    for tag in tags_of(layout):
        re.compile(tag)
    _, vectors, titles = read_projector(folder / "span")
    assert vectors
    assert titles[0][:2] == ["id", "title"]


def _of_slice(run: Run, verdict: Verdict | None, label: str) -> dict[str, float]:
    wanted = {}
    for column in ("item", "key"):
        for metric, value in run.surroundings.slices.get(f"{column}_slice:{label}", {}).items():
            wanted[f"next_span_slices/{metric}/{column}"] = value
        of_gate = {} if verdict is None else verdict.metrics.get(f"{column}_slice:{label}", {})
        for metric, values in of_gate.items():
            for name, of in (("candidate", "candidate"), ("champion", "baseline")):
                if of in values:
                    wanted[f"gate_slices/{metric}/{column}/{name}"] = values[of]
            if len(values) == 2:
                difference = values["candidate"] - values["baseline"]
                wanted[f"gate_slices/{metric}/{column}/difference"] = pytest.approx(difference, abs=1e-6)
    return wanted


def _check_health(config: Config, span: dict[str, dict[int, float]], first: int) -> None:
    files = sorted((config.artifacts_path / "IncrementalTrainer" / "model").glob("*/health.json"))
    for file in files:
        about = json.loads((file.parent / "state" / "state.json").read_text())
        for tag, value in json.loads(file.read_text())["numbers"].items():
            assert span[tag][about["learned"][-1] - first] == pytest.approx(value)
    assert files
