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

from pipeline.config import Config
from pipeline.ledger.runs import read_ledger
from pipeline.monitoring.report.report_data import read_report_data

RUNS = ("span", "candidate", "champion")


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
    pages = {name: Pages(config.logs_path / "spans" / name) for name in RUNS}
    span, ledger = pages["span"].scalars, read_ledger(config)
    for run in ledger:
        day = {tag: values[run.span] for tag, values in span.items() if run.span in values}
        counts = {"events": run.events, "rejects": run.rejects, "duplicates": run.duplicates}
        counts |= {"new_items": run.new_items, "new_keys": run.new_keys}
        for name, value in counts.items():
            assert day[f"data/{name}"] == value
        assert (day["tables/item_rows"], day["tables/key_rows"]) == (run.item_rows, run.key_rows)
        assert day["decision/pushed"] == (run.pushed is not None)
        assert {tag for tag in day if tag.startswith("next_span/")} == {f"next_span/{name}" for name in run.next_span}
        for name, value in run.next_span.items():
            assert day[f"next_span/{name}"] == pytest.approx(value)
        for node, value in run.seconds.items():
            assert day[f"seconds/{node}"] == pytest.approx(value)
        assert day["seconds/total"] == pytest.approx(sum(run.seconds.values()))
        nodes = {tag for tag in day if tag.startswith("bytes/")} - {"bytes/total"}
        assert day["bytes/total"] == sum(day[tag] for tag in nodes)
        verdict = read_report_data(config, [run]).verdict
        assert (verdict is None) == (not run.verdict)
        for name, of, overall in (("candidate", "candidate", run.candidate), ("champion", "baseline", run.champion)):
            scalars = {tag: values[run.span] for tag, values in pages[name].scalars.items() if run.span in values}
            wanted = {f"gate/{metric}": value for metric, value in overall.items()}
            for where, metrics in {} if verdict is None else verdict.metrics.items():
                if where != "overall":
                    place = where.replace("_slice:", "_")
                    wanted |= {f"gate_slices/{metric}/{place}": v[of] for metric, v in metrics.items() if of in v}
            assert scalars == pytest.approx(wanted)
    _check_health(config, span)
    for tag in tags_of(pages["span"].layout):
        re.compile(tag)
    _, vectors, titles = read_projector(config.logs_path / "spans" / "span")
    assert vectors
    assert titles[0][:2] == ["id", "title"]


def _check_health(config: Config, span: dict[str, dict[int, float]]) -> None:
    files = sorted((config.artifacts_path / "IncrementalTrainer" / "model").glob("*/health.json"))
    for file in files:
        about = json.loads((file.parent / "state" / "state.json").read_text())
        for tag, value in json.loads(file.read_text())["numbers"].items():
            assert span[tag][about["learned"][-1]] == pytest.approx(value)
    assert files
