"""Removes the artifacts that nothing needs, what killed attempts have left, and old logs.

Where the ledger and the disk disagree nothing is removed. ML Metadata is told first: an artifact that is marked for
deletion is chosen by no resolver and by no cache. Then its folder moves into the trash, and at last it is marked as
deleted, as TFX does it. What is cut off in between is ended by the next gc. Executions and properties stay: the ledger
is whole.
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
from pipeline.ledger.reader import DELETED, LIVE, MARKED
from pipeline.ledger.runs import read_runs
from pipeline.metadata_store.connection import open_store
from pipeline.metadata_store.exclusive import exclusive
from pipeline.operations.accounting import check_accounted, killed, missing
from pipeline.operations.disk_usage import tree_bytes
from pipeline.operations.retention_policy import NeedError, needed, needed_models
from pipeline.operations.trash import TrashFolder, clear_unlisted, expired, read_trash
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
      trash: what earlier ones threw away `gc.trash_days` ago, with its bytes.
    """

    rows: tuple[Row, ...]
    leftovers: tuple[tuple[Path, int], ...]
    logs: tuple[tuple[Path, int], ...]
    trash: tuple[tuple[TrashFolder, int], ...]

    @property
    def going(self) -> tuple[ArtifactRecord, ...]:
        return tuple(record for row in self.rows if not row.kept for record in row.records)

    @property
    def size(self) -> int:
        """Bytes that are not needed."""
        artifacts = sum(row.size for row in self.rows if not row.kept)
        return artifacts + sum(size for _, size in (*self.leftovers, *self.logs, *self.trash))

    @property
    def empty(self) -> bool:
        return not (self.going or self.leftovers or self.logs or self.trash)


def make_cleanup(config: Config) -> Cleanup:
    """Says what a gc would remove; changes nothing.

    Raises:
      GcError: what is needed can't be told.
      DisagreementError: the ledger and the disk disagree.
    """
    store = open_store(config)
    if store is None:
        return Cleanup((), (), (), ())
    return _plan(config, store)


def carry_out(config: Config, planned: Cleanup) -> None:
    """Does what was planned. Cut off anywhere, the next gc ends it.

    Raises:
      GcError: something has changed since it was planned.
      DisagreementError: the ledger and the disk disagree.
      LockedError: a run is going on.
    """
    with exclusive(config):
        store = open_store(config)
        if store is None:
            return
        now = _plan(config, store)
        if [record.id for record in now.going] != [record.id for record in planned.going]:
            raise GcError("The ledger or the served folder has changed since this was planned. Run the command again.")
        others = [path for path, _ in (*now.leftovers, *now.logs)]
        thrown = {record.id: record.folder for record in now.going}
        trash = TrashFolder.new(config.root, thrown, others) if thrown or others else None
        if trash is not None:
            _tell(store, thrown, MARKED)
            for path in (*thrown.values(), *others):
                if os.path.lexists(path):
                    trash.take(path, config.root)
            _tell(store, thrown, DELETED)
        # With `gc.trash_days: 0` what was thrown away right now goes too.
        for old in expired(config):
            old.remove()
        clear_unlisted(config)
        clear_leftovers(config.serving_path)


def restore(config: Config) -> list[TrashFolder]:
    """Puts back all that lies in the trash; returns what that was. Cut off anywhere, the next one ends it.

    Raises:
      LockedError: a run is going on.
    """
    with exclusive(config):
        store, folders = open_store(config), read_trash(config)
        for trash in reversed(folders):
            back = trash.give_back(config.root)
            if store is not None:
                _tell(store, back, LIVE)
            trash.remove()
        clear_unlisted(config)
        return folders


def give_up_lost(config: Config) -> list[ArtifactRecord]:
    """Tells the ledger that artifacts whose folders are missing are gone; returns them. Removes nothing.

    Raises:
      LockedError: a run is going on.
    """
    with exclusive(config):
        store = open_store(config)
        lost = [] if store is None else missing(read_artifacts(config, store))
        if store is not None:
            _tell(store, [record.id for record in lost], DELETED)
        return lost


def remove(config: Config, store: metadata_store.MetadataStore, going: Sequence[ArtifactRecord]) -> None:
    """Removes the files of artifacts for good and tells ML Metadata. The caller holds the locks."""
    ids = [record.id for record in going]
    _tell(store, ids, MARKED)
    bin_ = config.artifacts_path / _REMOVED
    for record in going:
        if record.folder.exists():
            bin_.mkdir(parents=True, exist_ok=True)
            away = bin_ / f"{record.node}-{record.key}-{record.id}"
            shutil.rmtree(away, ignore_errors=True)
            os.rename(record.folder, away)
    shutil.rmtree(bin_, ignore_errors=True)
    _tell(store, ids, DELETED)


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
    if planned.trash:
        size = decimal(sum(size for _, size in planned.trash))
        rows.append(("trash", "", str(len(planned.trash)), size, "removed for good"))
    return rows


def _plan(config: Config, store: metadata_store.MetadataStore) -> Cleanup:
    records, lineage = read_artifacts(config, store), model_lineage_in(store, config.name)
    check_accounted(config, store, records)
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
    left = tuple((path, tree_bytes(path)) for path in leftovers(config, store, records))
    spans = sorted({run.span for run in runs})[-config.gc.keep_spans :]
    names = {Naming(config.data.dated).format(span) for span in spans}
    old = tuple((trash, tree_bytes(trash.folder)) for trash in expired(config))
    return Cleanup(tuple(rows), left, tuple(old_logs(config, names)), old)


def leftovers(config: Config, store: metadata_store.MetadataStore, records: PipelineArtifacts) -> list[Path]:
    """Folders of executions that never came to their end, and files that were being written."""
    paths = [path for path in (config.artifacts_path / _REMOVED,) if path.exists()]
    paths += killed(config, store, records)
    for folder in sorted(config.artifacts_path.glob("*/.system/*/*")):
        if any(path.is_file() for path in folder.rglob("*")):
            paths.append(folder)
    paths += sorted(config.root.glob(".tensorboard-*"))
    served = config.serving_path
    return [*paths, *sorted(served.glob(".*.partial")), *sorted(served.glob(".*.removed"))]


def _tell(store: metadata_store.MetadataStore, ids: Iterable[int], state: int) -> None:
    artifacts = store.get_artifacts_by_id(list(ids))
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
