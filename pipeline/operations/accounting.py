"""The ledger against the disk: what neither can account for is not deleted, and nothing else beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ml_metadata.metadata_store import metadata_store

from pipeline.config import Config
from pipeline.ledger.artifacts import ArtifactRecord, PipelineArtifacts
from pipeline.ledger.reader import MARKED, LedgerReader

_SHOWN = 10
_OF_MISSING = "Put back what is missing from a copy; `warmspan gc --lost` tells the ledger that it is lost for good."
_OF_STRANGE = (
    "A ledger from an older copy does not know the days since: put the newer one back. Folders that are not of this "
    "root belong out of it."
)


class DisagreementError(RuntimeError):
    """The ledger and the disk disagree; the message lists where."""


def check_accounted(config: Config, store: metadata_store.MetadataStore, records: PipelineArtifacts) -> None:
    """Refuses a root in which something is missing, or that has what no run of it has made.

    Raises:
      DisagreementError: see above.
    """
    gone = [f"{record.folder}: in the ledger, but not there" for record in missing(records)]
    strange = [f"{folder}: there, but of no run in the ledger" for folder in unaccounted(config, store, records)]
    lines = [*gone, *strange]
    if not lines:
        return
    shown = "\n".join(f"  {line}" for line in [*lines[:_SHOWN], *(["  …"] if len(lines) > _SHOWN else [])])
    cures = [*([_OF_MISSING] if gone else []), *([_OF_STRANGE] if strange else [])]
    raise DisagreementError(
        f"The ledger and the disk must agree before anything is removed. Received: {len(lines)} differences:\n{shown}\n"
        f"Nothing was changed. {' '.join(cures)}"
    )


def missing(records: PipelineArtifacts) -> list[ArtifactRecord]:
    """Artifacts of this pipeline that should be there and are not."""
    return [record for record in records.all if record.live and not record.folder.exists()]


def unaccounted(config: Config, store: metadata_store.MetadataStore, records: PipelineArtifacts) -> list[Path]:
    """Folders of executions that the ledger does not know, or knows to have made something else."""
    unfinished = _unfinished(config, store)
    return [folder for folder in _unknown(config, records) if int(folder.name) not in unfinished]


def killed(config: Config, store: metadata_store.MetadataStore, records: PipelineArtifacts) -> list[Path]:
    """Folders of executions of this ledger that never came to their end."""
    unfinished = _unfinished(config, store)
    return [folder for folder in _unknown(config, records) if int(folder.name) in unfinished]


def _unfinished(config: Config, store: metadata_store.MetadataStore) -> frozenset[int]:
    executions = LedgerReader(store, config.name).executions_of_everybody()
    return frozenset(execution.id for execution in executions if not execution.done)


def _unknown(config: Config, records: PipelineArtifacts) -> Iterator[Path]:
    """Folders named after an execution in which no artifact lies."""
    known = records.folders | {record.folder for record in records.all if record.state == MARKED}
    for folder in sorted(config.artifacts_path.glob("*/*/*")):
        of_node = re.fullmatch(r"\d+", folder.name) and folder.parent.parent.name != ".system"
        if of_node and folder.is_dir() and folder not in known:
            yield folder
