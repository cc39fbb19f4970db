"""Erases a day: all that it brought, and all that stands on it.

What later days made is made from its events too: their histories, vocabularies and models. So all of it goes, the
models are taken back, and the days after are run again from the state of the day before. The tombstone is written
first; as long as a file of the day itself is there this is not at its end, and the next run goes on with it.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterable
from pathlib import Path

from ml_metadata.metadata_store import metadata_store

from components.data_files import data_files, spans_of
from components.resolvers import FORGOTTEN
from components.span_pusher.published_versions import SEEN_AFTER
from components.suppression_list import SuppressionList
from pipeline.config import Config
from pipeline.erasure.errors import ErasureError
from pipeline.ledger.artifacts import ArtifactRecord, PipelineArtifacts, read_artifacts
from pipeline.ledger.models import Model, model_lineage_in
from pipeline.ledger.runs import run_id
from pipeline.metadata_store.connection import open_store
from pipeline.metadata_store.exclusive import exclusive
from pipeline.operations.accounting import check_accounted
from pipeline.operations.garbage_collection import remove
from pipeline.operations.rollback import Rollback, plan_without, take_back
from pipeline.operations.trash import empty_trash
from pipeline.planning.deliveries import read_deliveries
from pipeline.spans import Naming
from pipeline.stream.folder import discard

_SCHEMA = "ImportSchemaGen/schema"  # of the settings, not of any day


@dataclasses.dataclass(frozen=True)
class SpanErasure:
    """What forgetting a day does.

    Attributes:
      span: its number.
      rollback: the models that are taken back, what is served then.
      records: artifacts whose files go.
      again: later spans that were run and have to be run again.
      own: the day's own files, outside of the root; they are left alone and never read again.
    """

    span: int
    rollback: Rollback
    records: tuple[ArtifactRecord, ...]
    again: tuple[int, ...]
    own: tuple[str, ...]


def make_span_erasure(config: Config, name: str) -> SpanErasure:
    """Looks at what a day brought; changes nothing.

    Raises:
      SpanNameError: the name can't be read.
      ErasureError: it was never run, or a later day can't be run again.
      RollbackError: nothing would be left to serve.
    """
    naming, store = Naming(config.data.dated), open_store(config)
    span = naming.parse(name)
    records = None if store is None else read_artifacts(config, store)
    if store is None or records is None or not any(record.span == span for record in records.all):
        raise ErasureError(f"`--span` must be a span that was run. Received: {name}. `warmspan status` lists them.")
    going = _standing_on(records, span)
    again = tuple(sorted({record.span for record in going if record.span > span}))
    check_accounted(config, store, records)
    there = read_deliveries(config)
    lost = [naming.format(later) for later in again if later not in there]
    if lost:
        raise ErasureError(
            f"The days after `--span` must still have files, because they are run again without it. Received: none for "
            f"{', '.join(lost)}. Put them back into the data folder."
        )
    planned = _rollback(config, store, span)
    own = [str(config.data.path)] if span in spans_of(data_files(config.data.path, config.data.pattern)) else []
    return SpanErasure(span, planned, tuple(going), again, tuple(own))


def carry_out(config: Config, planned: SpanErasure) -> None:
    """Does what was planned.

    Raises:
      RollbackError: the served folder can't be changed.
      LockedError: a run is going on.
    """
    with exclusive(config):
        forgotten = SuppressionList.load(config.suppression_list_path) or SuppressionList.new()
        forgotten.with_spans([planned.span]).save(config.suppression_list_path)
        discard(config)  # a copy of the day that can be made again
        shutil.rmtree(config.workers_path, ignore_errors=True)  # what a training that failed would go on from
        finish(config)


def finish(config: Config) -> None:
    """Ends the erasure of days that was cut off, if there is one. The caller holds the locks."""
    forgotten, store = SuppressionList.load(config.suppression_list_path), open_store(config)
    if forgotten is None or store is None or not forgotten.spans:
        return
    records = read_artifacts(config, store)
    for span in sorted(forgotten.spans):
        if not any(record.span == span and record.live and record.kind != _SCHEMA for record in records.all):
            continue
        empty_trash(config)
        planned = _rollback(config, store, span)
        why = f"stands on {Naming(config.data.dated).format(span)}, which was forgotten"
        take_back(config, planned, {model.id: why for model in planned.revoke}, SEEN_AFTER)
        going = _standing_on(records, span)
        # The day itself at last: as long as it is there this is not done.
        remove(config, store, [record for record in going if record.span > span])
        for path in _papers(config, span):
            path.unlink(missing_ok=True)
        _mark(store, [record for record in going if record.span == span])
        remove(config, store, [record for record in going if record.span == span])
        records = read_artifacts(config, store)


def _standing_on(records: PipelineArtifacts, span: int) -> list[ArtifactRecord]:
    return [record for record in records.all if record.live and record.span >= span and record.kind != _SCHEMA]


def _rollback(config: Config, store: metadata_store.MetadataStore, span: int) -> Rollback:
    lineage = model_lineage_in(store, config.name)
    gone: list[Model] = [model for model in lineage.models if model.span >= span]
    return plan_without(config, lineage, gone, gone)


def _papers(config: Config, span: int) -> Iterable[Path]:
    name = Naming(config.data.dated).format(span)
    yield from (config.logs_path / "runs").glob(f"{run_id(config.name, name, 1)[:-2]}*.log")
    yield from config.logs_path.glob(f"*/*/events.out.tfevents.{span:010d}")
    yield config.artifacts_path / "SpanExampleGen" / "refused" / f"{name}.csv"


def _mark(store: metadata_store.MetadataStore, records: Iterable[ArtifactRecord]) -> None:
    artifacts = store.get_artifacts_by_id([record.id for record in records])
    for artifact in artifacts:
        artifact.custom_properties[FORGOTTEN].int_value = 1
    if artifacts:
        store.put_artifacts(artifacts)
