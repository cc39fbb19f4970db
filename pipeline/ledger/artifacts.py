"""Every artifact of one pipeline that has a folder, and the run that it belongs to: read from ML Metadata."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_metadata.metadata_store import metadata_store

from pipeline.config import Config
from pipeline.ledger.reader import LIVE, LedgerReader
from pipeline.ledger.runs import run_contexts

MODEL, MEMORY = "IncrementalTrainer/model", "IncrementalTrainer/memory"
TEACHER = "TeacherTrainer/teacher"
STATES = ("SpanTransform/vocabulary", "SpanTransform/history")


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
    reader = LedgerReader(store, config.name)
    artifacts = reader.artifacts(reader.whole())
    runs = {(span, revision): context for context, span, _, revision in run_contexts(config, reader)}
    of_execution = {execution.id: run for run, context in runs.items() for execution in reader.executions(context)}
    makers, users, inputs = (collections.defaultdict[int, set[int]](set) for _ in range(3))
    for event in reader.events_of_artifacts([artifact.id for artifact in artifacts]):
        (makers if event.made else users)[event.artifact].add(event.execution)
        if not event.made:
            inputs[event.execution].add(event.artifact)
    records, taken = [], {}
    for artifact in artifacts:
        place, made_by = _place(config, artifact.uri), makers[artifact.id]
        if place is None or not made_by:
            continue
        taken[artifact.id] = frozenset(used for maker in made_by for used in inputs[maker])
        run = max((of_execution[maker] for maker in made_by if maker in of_execution), default=(0, 0))
        folder, used_by = Path(artifact.uri), frozenset(users[artifact.id])
        record = ArtifactRecord(artifact.id, *place, *run, folder, artifact.state, artifact.properties, used_by)
        records.append(record)
    of_run = {run: frozenset(artifact.id for artifact in reader.artifacts(context)) for run, context in runs.items()}
    whole = [artifact.uri for artifact in reader.artifacts_of_everybody() if artifact.uri and artifact.live]
    return PipelineArtifacts(tuple(records), taken, of_run, frozenset(map(Path, whole)))


def _place(config: Config, uri: str) -> tuple[str, str] | None:
    """Node and output of an artifact's folder; None for what lies elsewhere, and is nobody's to remove."""
    try:
        parts = Path(uri).relative_to(config.artifacts_path).parts
    except ValueError:
        return None
    return (parts[0], parts[1]) if len(parts) == 3 and uri else None
