"""Removes the artifacts that nothing needs, what killed attempts have left, and old logs.

ML Metadata is told first: an artifact that is marked for deletion is chosen by no resolver and by no cache. Then its
folder is renamed away and removed, and at last it is marked as deleted, as TFX does it. What is cut off in between is
ended by the next gc. Executions and properties stay: the ledger is whole.
"""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

from ml_metadata.metadata_store import metadata_store
from rich.filesize import decimal

from components.span_pusher.version_folder import clear_leftovers
from pipeline.config import Config
from pipeline.ledger.artifacts import MODEL, ArtifactRecord, PipelineArtifacts, read_artifacts
from pipeline.ledger.models import model_lineage_in
from pipeline.ledger.reader import DELETED, MARKED
from pipeline.ledger.runs import read_runs
from pipeline.metadata_store.connection import open_store
from pipeline.metadata_store.exclusive import exclusive
from pipeline.operations.disk_usage import tree_bytes
from pipeline.operations.retention_policy import NeedError, needed, needed_models
from pipeline.spans import Naming

_REMOVED = ".removed"  # below the artifacts, what is on its way out


class GcError(RuntimeError):
    """Nothing can be removed now; the message says why."""


@dataclasses.dataclass(frozen=True)
class Row:
    """Artifacts of one output that share a fate.

    Attributes:
      kind: node and output.
      kept: whether they stay.
      why: what they are needed for; empty for those that go.
      pieces: themselves, oldest first.
      size: their bytes.
    """

    kind: str
    kept: bool
    why: str
    records: tuple[ArtifactRecord, ...]
    size: int


@dataclasses.dataclass(frozen=True)
class Cleanup:
    """What a gc does.

    Attributes:
      rows: all artifacts, with what becomes of them.
      leftovers: folders and files of attempts that were killed, with their bytes.
      logs: logs of older spans, with their bytes.
    """

    rows: tuple[Row, ...]
    leftovers: tuple[tuple[Path, int], ...]
    logs: tuple[tuple[Path, int], ...]

    @property
    def going(self) -> tuple[ArtifactRecord, ...]:
        return tuple(record for row in self.rows if not row.kept for record in row.records)

    @property
    def size(self) -> int:
        """Bytes that it frees."""
        artifacts = sum(row.size for row in self.rows if not row.kept)
        return artifacts + sum(size for _, size in (*self.leftovers, *self.logs))

    @property
    def empty(self) -> bool:
        return not (self.going or self.leftovers or self.logs)


def make_cleanup(config: Config) -> Cleanup:
    """Says what a gc would remove; changes nothing.

    Raises:
      GcError: what is needed can't be told.
    """
    store = open_store(config)
    if store is None:
        return Cleanup((), (), ())
    return _plan(config, store)


def carry_out(config: Config, planned: Cleanup) -> None:
    """Does what was planned. Cut off anywhere, the next gc ends it.

    Raises:
      GcError: something has changed since it was planned.
      LockedError: a run is going on.
    """
    with exclusive(config):
        store = open_store(config)
        if store is None:
            return
        now = _plan(config, store)
        if [record.id for record in now.going] != [record.id for record in planned.going]:
            raise GcError("The ledger or the served folder has changed since this was planned. Run the command again.")
        remove(config, store, now.going)
        for path, _ in (*now.leftovers, *now.logs):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
        clear_leftovers(config.serving_path)


def remove(config: Config, store: metadata_store.MetadataStore, going: Sequence[ArtifactRecord]) -> None:
    """Removes the files of artifacts and tells ML Metadata. The caller holds the locks."""
    _tell(store, going, MARKED)
    bin_ = config.artifacts_path / _REMOVED
    for record in going:
        if record.folder.exists():
            bin_.mkdir(parents=True, exist_ok=True)
            away = bin_ / f"{record.node}-{record.key}-{record.id}"
            shutil.rmtree(away, ignore_errors=True)
            os.rename(record.folder, away)
    shutil.rmtree(bin_, ignore_errors=True)
    _tell(store, going, DELETED)


def describe(planned: Cleanup, config: Config) -> list[tuple[str, str, str, str, str]]:
    """Rows of a table: what, of which spans, how many, bytes, and why it stays or that it goes."""
    naming = Naming(config.data.dated)
    rows = [
        (row.kind, _spans(row.records, naming), str(len(row.records)), decimal(row.size), row.why or "removed")
        for row in planned.rows
    ]
    for name, paths in (("left by killed runs", planned.leftovers), ("logs", planned.logs)):
        if paths:
            rows.append((name, "", str(len(paths)), decimal(sum(size for _, size in paths)), "removed"))
    return rows


def _plan(config: Config, store: metadata_store.MetadataStore) -> Cleanup:
    records, lineage = read_artifacts(config, store), model_lineage_in(store, config.name)
    runs = read_runs(config)
    try:
        reasons = needed(config, records, lineage, runs, needed_models(config, lineage))
    except NeedError as error:
        raise GcError(f"What is needed must be known. {error}") from None
    groups: dict[tuple[str, str], list[ArtifactRecord]] = {}
    for record in records.all:
        if record.live or record.state == MARKED:
            groups.setdefault((record.kind, reasons.get(record.id, "")), []).append(record)
    rows = [
        Row(kind, bool(why), why, tuple(grouped), sum(tree_bytes(record.folder) for record in grouped))
        for (kind, why), grouped in groups.items()
    ]
    rows.sort(key=lambda row: (row.kind != MODEL, row.kind, row.kept, row.records[0].span, row.records[0].id))
    left = tuple((path, tree_bytes(path)) for path in leftovers(config, records))
    spans = sorted({run.span for run in runs})[-config.gc.keep_spans :]
    names = {Naming(config.data.dated).format(span) for span in spans}
    return Cleanup(tuple(rows), left, tuple(old_logs(config, names)))


def leftovers(config: Config, records: PipelineArtifacts) -> list[Path]:
    """Folders of executions that never came to their end, and files that were being written."""
    known = records.folders | {record.folder for record in records.all if record.state == MARKED}
    paths = [path for path in (config.artifacts_path / _REMOVED,) if path.exists()]
    for folder in sorted(config.artifacts_path.glob("*/*/*")):
        of_node = re.fullmatch(r"\d+", folder.name) and folder.parent.parent.name != ".system"
        if of_node and folder.is_dir() and folder not in known:
            paths.append(folder)
    for folder in sorted(config.artifacts_path.glob("*/.system/*/*")):
        if any(path.is_file() for path in folder.rglob("*")):
            paths.append(folder)
    paths += sorted(config.root.glob(".tensorboard-*"))
    served = config.serving_path
    return [*paths, *sorted(served.glob(".*.partial")), *sorted(served.glob(".*.removed"))]


def _tell(store: metadata_store.MetadataStore, going: Iterable[ArtifactRecord], state: int) -> None:
    artifacts = store.get_artifacts_by_id([record.id for record in going])
    for artifact in artifacts:
        artifact.state = state  # type: ignore[assignment]
    if artifacts:
        store.put_artifacts(artifacts)  # one call is one transaction


def _spans(records: Sequence[ArtifactRecord], naming: Naming) -> str:
    spans = sorted({record.span for record in records})
    return " to ".join(dict.fromkeys(naming.format(span) for span in (spans[0], spans[-1])))


def old_logs(config: Config, kept: Collection[str]) -> Iterator[tuple[Path, int]]:
    """Logs of runs, and training curves, of other spans than those named in `kept`, with their bytes."""
    naming = Naming(config.data.dated)
    run = re.compile(re.escape(config.name) + r"\.(.+)\.r\d\d\.log")
    for path in sorted((config.logs_path / "runs").glob("*.log")):
        if (match := run.fullmatch(path.name)) and match[1] not in kept:
            yield path, path.stat().st_size
    versions = {str(naming.version(naming.parse(name), 1))[:-2] for name in kept}
    for path in sorted((config.logs_path / "training").glob("*.tfevents.*")):
        version = path.name.rpartition(".")[2]
        if version.isdecimal() and version[:-2] not in versions:
            yield path, path.stat().st_size
