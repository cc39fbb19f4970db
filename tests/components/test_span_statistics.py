"""What is made in memory is what TFX's own executor makes with Beam."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import statistics_pb2
from tfx.components.statistics_gen import executor as statistics_gen
from tfx.types import artifact, standard_artifacts

from components.span_statistics import component
from pipeline.parameters.graph_parameters import LOCAL_BEAM
from tests.components.span_example_gen_ingest import DATA, SPAN, START, Ingested, deliver, ingest

_CONTEXT = {**DATA, "columns": {**DATA["columns"], "context": ["shop", "price"]}}


def span_of(tmp_path: Path, events: int) -> Ingested:
    random = np.random.default_rng(1)
    rows = [
        f"u{random.integers(40)},i{int(random.exponential(9))},{START + at * 60},"
        f"{random.choice(['', 'a', 'b'])},{random.integers(100)}\n"
        for at in range(events)
    ]
    deliver(tmp_path / "spans", "user,film,at,shop,price\n" + "".join(rows))
    return ingest(tmp_path / "spans", tmp_path / "examples", eval_fraction=0.1, **_CONTEXT)


def run(executor: type[statistics_gen.Executor], examples: artifact.Artifact, folder: Path) -> artifact.Artifact:
    statistics = standard_artifacts.ExampleStatistics()
    statistics.uri = str(folder)
    context = executor.Context(beam_pipeline_args=list(LOCAL_BEAM), tmp_dir=str(folder))
    executor(context).Do({"examples": [examples]}, {"statistics": [statistics]}, {})
    return statistics


def facts(statistics: artifact.Artifact, split: str) -> dict[str, Any]:
    """A split's figures, whatever order the features came in."""
    path = Path(statistics.uri) / f"Split-{split}" / "FeatureStats.pb"
    (data,) = tfdv.load_stats_binary(str(path)).datasets
    return {"examples": data.num_examples, **{of.path.step[0]: _figures(of) for of in data.features}}


def _figures(of: statistics_pb2.FeatureNameStatistics) -> tuple[Any, ...]:
    if of.WhichOneof("stats") == "string_stats":
        text, common = of.string_stats, of.string_stats.common_stats
        top = sorted((-value.frequency, value.value) for value in text.top_values)
        own: tuple[Any, ...] = (text.unique, round(text.avg_length, 4), top)
    else:
        number, common = of.num_stats, of.num_stats.common_stats
        own = (number.min, number.max, number.mean, number.num_zeros, pytest.approx(number.std_dev))
    return (of.type, common.num_non_missing, common.num_missing, common.max_num_values, own)


@pytest.mark.parametrize("events", [0, 1, 300])
def test_in_memory_as_with_beam(tmp_path: Path, events: int) -> None:
    span = span_of(tmp_path, events)
    mine = run(component.Executor, span.examples, tmp_path / "in_memory")
    beam = run(statistics_gen.Executor, span.examples, tmp_path / "beam")
    for split in ("train", "eval"):
        assert facts(mine, split) == facts(beam, split)
    assert json.loads(mine.split_names) == json.loads(beam.split_names) == ["train", "eval"]
    assert mine.span == beam.span == SPAN


def test_a_span_that_a_sketch_could_not_count_goes_to_beam(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(statistics_gen.Executor, "Do", lambda self, *given: asked.append(given))
    span = span_of(tmp_path, 11)
    monkeypatch.setattr(component, "EXACT_UP_TO", 10)
    run(component.Executor, span.examples, tmp_path / "large")
    monkeypatch.setattr(component, "EXACT_UP_TO", 11)
    run(component.Executor, span.examples, tmp_path / "small")
    assert len(asked) == 1


def test_examples_without_a_count_go_to_beam(tmp_path: Path) -> None:
    """Those of another component, or of an earlier version."""
    span = span_of(tmp_path, 5)
    bare = standard_artifacts.Examples()
    bare.uri, bare.split_names, bare.span = span.examples.uri, span.examples.split_names, SPAN
    for name in ("payload_format", "file_format"):
        bare.set_string_custom_property(name, span.examples.get_string_custom_property(name))
    assert facts(run(component.Executor, bare, tmp_path / "out"), "train")["examples"] == len(span.events("train"))
