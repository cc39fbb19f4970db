"""The component inside a real TFX pipeline: what is published, what is cached, what a refused span leaves."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ml_metadata.proto import metadata_store_pb2
from tfx.components import StatisticsGen
from tfx.orchestration import metadata, pipeline
from tfx.orchestration.local import local_dag_runner

from components.span_example_gen import SpanError, SpanExampleGen
from tests.components.span_example_gen_ingest import DATA, DAY, HEADER, PATTERN, SPAN, START, deliver

BEAM = ["--runner=FnApiRunner", "--requirements_file=/dev/null"]


def run(base: Path, root: Path, *, statistics: bool = False) -> None:
    events = SpanExampleGen(str(base), DATA, SPAN, PATTERN, 0.1)
    nodes = [events]
    if statistics:
        nodes.append(StatisticsGen(examples=events.outputs["examples"]))
    local_dag_runner.LocalDagRunner().run(
        pipeline.Pipeline(
            pipeline_name="ingest",
            pipeline_root=str(root),
            components=nodes,
            enable_cache=True,
            metadata_connection_config=metadata.sqlite_metadata_connection_config(str(root / "metadata.db")),
            beam_pipeline_args=BEAM,
        )
    )


def executions(root: Path) -> tuple[list[str], list[metadata_store_pb2.Artifact]]:
    """How each execution of SpanExampleGen ended, and the live Examples."""
    with metadata.Metadata(metadata.sqlite_metadata_connection_config(str(root / "metadata.db"))) as handle:
        name = "components.span_example_gen.component.SpanExampleGen"
        ends = [execution.last_known_state for execution in handle.store.get_executions_by_type(name)]
        live = [
            artifact
            for artifact in handle.store.get_artifacts_by_type("Examples")
            if artifact.state == metadata_store_pb2.Artifact.LIVE
        ]
    return [metadata_store_pb2.Execution.State.Name(end) for end in ends], live


@pytest.mark.slow
def test_a_span_is_ingested_once_and_again_when_its_files_change(tmp_path: Path) -> None:
    base, root = tmp_path / "spans", tmp_path / "root"
    path = deliver(base, f"{HEADER}a,i,{START}\n")
    os.utime(path, (START, START))
    run(base, root, statistics=True)
    run(base, root, statistics=True)
    ends, live = executions(root)
    assert (ends, len(live)) == (["COMPLETE", "CACHED"], 1)
    properties = live[0].custom_properties
    assert (properties["span"].int_value, properties["events"].int_value) == (SPAN, 1)
    assert (properties["train_events"].int_value, properties["eval_events"].int_value) == (1, 0)
    assert live[0].properties["split_names"].string_value == '["train", "eval"]'
    path.write_text(f"{HEADER}a,i,{START}\nb,i,{START}\n")
    run(base, root)
    ends, live = executions(root)
    assert ends == ["COMPLETE", "CACHED", "COMPLETE"]
    assert live[-1].custom_properties["events"].int_value == 2


@pytest.mark.slow
def test_nothing_is_published_of_a_refused_span_and_a_good_delivery_heals_it(tmp_path: Path) -> None:
    base, root = tmp_path / "spans", tmp_path / "root"
    deliver(base, f"{HEADER}a,i,{START}\n,i,{START}\n")
    with pytest.raises(SpanError, match="was refused"):
        run(base, root)
    assert executions(root) == (["FAILED"], [])
    assert list((root / "SpanExampleGen" / "examples").iterdir()) == []
    assert (root / "SpanExampleGen" / "refused" / f"{DAY}.csv").exists()
    deliver(base, f"{HEADER}a,i,{START}\nb,i,{START}\n")
    run(base, root)
    ends, live = executions(root)
    assert (ends, len(live)) == (["FAILED", "COMPLETE"], 1)
