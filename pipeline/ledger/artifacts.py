"""Every artifact of one pipeline that has a folder, and the run that it belongs to: read from ML Metadata."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2

from pipeline.config import Config
from pipeline.ledger.runs import run_contexts

MODEL, MEMORY = "IncrementalTrainer/model", "IncrementalTrainer/memory"
STATES = ("SpanTransform/vocabulary", "SpanTransform/history")
LIVE = metadata_store_pb2.Artifact.LIVE
MARKED = metadata_store_pb2.Artifact.MARKED_FOR_DELETION
DELETED = metadata_store_pb2.Artifact.DELETED


@dataclasses.dataclass(frozen=True)
class ArtifactRecord:
    """One artifact.

    Attributes:
      id: of the artifact.
      node, key: which node made it, as which output; the first parts of its folder.
      span, revision: of the last run that made it or took it from the cache.
      folder: where its files lie.
      state: MLMD's, as a number.
      properties: its custom properties as plain values.
      used_by: ids of the executions that it was an input of.
    """

    id: int
    node: str
    key: str
    span: int
    revision: int
    folder: Path
    state: int
    properties: Mapping[str, Any]
    used_by: frozenset[int]

    @property
    def live(self) -> bool:
        return self.state == LIVE

    @property
    def kind(self) -> str:
        return f"{self.node}/{self.key}"

    @property
    def version(self) -> int:
        return int(self.properties.get("version", 0))


@dataclasses.dataclass(frozen=True)
class PipelineArtifacts:
    """All of them, in the order in which they were made.

    Attributes:
      all: every artifact of this pipeline with a folder under its root.
      taken: artifact id to the ids of what its execution took.
      runs: (span, revision) to the ids of all artifacts that the run has made or looked at.
      folders: every artifact folder that the store knows to be whole, of this pipeline or of another.
    """

    all: tuple[ArtifactRecord, ...]
    taken: Mapping[int, frozenset[int]]
    runs: Mapping[tuple[int, int], frozenset[int]]
    folders: frozenset[Path]

    def of(self, kind: str) -> list[ArtifactRecord]:
        """Those of `node/key` that are there, oldest first."""
        return [record for record in self.all if record.kind == kind and record.live]


def read_artifacts(config: Config, store: metadata_store.MetadataStore) -> PipelineArtifacts:
    """Reads them; others may share the store."""
    context = store.get_context_by_type_and_name("pipeline", config.name)
    artifacts = (
        [] if context is None else sorted(store.get_artifacts_by_context(context.id), key=lambda artifact: artifact.id)
    )
    runs = _runs(config, store)
    of_execution = {execution: run for run, (_, executions) in runs.items() for execution in executions}
    made: dict[int, set[int]] = {}
    used: dict[int, set[int]] = {}
    events = store.get_events_by_artifact_ids([artifact.id for artifact in artifacts]) if artifacts else []
    for event in events:
        if event.type == metadata_store_pb2.Event.OUTPUT:
            made.setdefault(event.artifact_id, set()).add(event.execution_id)
        elif event.type == metadata_store_pb2.Event.INPUT:
            used.setdefault(event.artifact_id, set()).add(event.execution_id)
    inputs: dict[int, set[int]] = {}
    for artifact, executions in used.items():
        for execution in executions:
            inputs.setdefault(execution, set()).add(artifact)
    records, taken = [], {}
    for made_artifact in artifacts:
        place = _place(config, made_artifact.uri)
        makers = made.get(made_artifact.id, set())
        if place is None or not makers:
            continue
        span, revision = max((of_execution[maker] for maker in makers if maker in of_execution), default=(0, 0))
        taken[made_artifact.id] = frozenset(artifact for maker in makers for artifact in inputs.get(maker, ()))
        plain = {
            name: getattr(value, value.WhichOneof("value")) for name, value in made_artifact.custom_properties.items()
        }
        records.append(
            ArtifactRecord(
                made_artifact.id,
                *place,
                span,
                revision,
                Path(made_artifact.uri),
                made_artifact.state,
                plain,
                frozenset(used.get(made_artifact.id, ())),
            )
        )
    known = store.get_artifacts()
    folders = frozenset(Path(artifact.uri) for artifact in known if artifact.uri and artifact.state == LIVE)
    return PipelineArtifacts(tuple(records), taken, {run: ids for run, (ids, _) in runs.items()}, folders)


def _runs(
    config: Config, store: metadata_store.MetadataStore
) -> dict[tuple[int, int], tuple[frozenset[int], frozenset[int]]]:
    """Of every run the artifacts in its context, and its executions."""
    by_run = {}
    for context, span, _, revision in run_contexts(config, store):
        artifacts = frozenset(artifact.id for artifact in store.get_artifacts_by_context(context))
        executions = frozenset(execution.id for execution in store.get_executions_by_context(context))
        by_run[span, revision] = artifacts, executions
    return by_run


def _place(config: Config, uri: str) -> tuple[str, str] | None:
    """Node and output of an artifact's folder; None for what lies elsewhere, and is nobody's to remove."""
    try:
        parts = Path(uri).relative_to(config.artifacts_path).parts
    except ValueError:
        return None
    return (parts[0], parts[1]) if len(parts) == 3 and uri else None
