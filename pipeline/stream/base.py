"""What a stream starts from: the champion, and the state of the span that it learned last."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

from components.suppression_list import SuppressionList
from pipeline.config import Config
from pipeline.ledger.artifacts import MEMORY, MODEL, STATES, ArtifactRecord, read_artifacts
from pipeline.ledger.models import model_lineage_in
from pipeline.ledger.runs import read_ledger
from pipeline.metadata_store.connection import open_store
from pipeline.parameters.graph_parameters import GraphParameters

_VOCABULARY, _HISTORY = STATES


class BaseError(ValueError):
    """The champion's state can't be used; the message says why."""


@dataclasses.dataclass(frozen=True)
class Base:
    """The champion and its surroundings.

    Attributes:
      version, span: the champion's, and the last span that it has learned: the stream's events are those of later ones.
      model, memory, vocabulary, history: folders of artifacts; None where there is no memory.
      catalogue, encodings: likewise, of a champion with a catalogue, and with texts in it.
      left_out: later spans that no stream may learn: held by the guard, or forgotten.
      identity: of the champion and of the settings by which it is copied and continued.
    """

    version: int
    span: int
    model: Path
    memory: Path | None
    vocabulary: Path
    history: Path
    catalogue: Path | None
    encodings: tuple[Path, ...]
    left_out: frozenset[int]
    identity: str


def ledger_stamp(config: Config) -> object:
    """Changes whenever the ledger may say something else than before; None where it has to be asked."""
    if config.metadata is not None:
        return None
    paths = (*(config.root / f"metadata.sqlite{end}" for end in ("", "-wal")), config.suppression_list_path)
    return tuple((at.st_size, at.st_mtime_ns) for at in (path.stat() for path in paths if path.exists()))


def find_base(config: Config) -> Base | None:
    """The champion now; None before there is any.

    Raises:
      BaseError: files of it are gone.
    """
    store = open_store(config)
    champion = None if store is None else model_lineage_in(store, config.name).champion()
    if store is None or champion is None:
        return None
    records = read_artifacts(config, store)
    taken = [record for record in records.all if record.id in records.taken.get(champion.id, frozenset())]
    vocabulary = _only(_VOCABULARY, [record for record in taken if record.kind == _VOCABULARY and record.live])
    # The two states of a span are made together, in folders of one number.
    made_together = [record for record in records.of(_HISTORY) if record.folder.name == vocabulary.folder.name]
    history = _only(_HISTORY, made_together)
    memories = [record.folder for record in records.of(MEMORY) if record.version == champion.version]
    catalogues = [record.folder for record in taken if record.kind.startswith("CatalogueGen/") and record.live]
    return Base(
        version=champion.version,
        span=champion.span,
        model=_only(MODEL, [record for record in records.of(MODEL) if record.id == champion.id]).folder,
        memory=memories[-1] if memories else None,
        vocabulary=vocabulary.folder,
        history=history.folder,
        catalogue=catalogues[-1] if catalogues else None,
        encodings=tuple(record.folder for record in taken if record.node.startswith("ItemEncoder.") and record.live),
        left_out=_left_out(config, champion.span),
        identity=_identity(config, champion.id, champion.version),
    )


def _only(kind: str, records: list[ArtifactRecord]) -> ArtifactRecord:
    if not records:
        raise BaseError(
            f"The champion must have its files, the state of its span among them. Received: no {kind}. Run the next "
            "span: its champion has all of them."
        )
    return records[-1]


def _left_out(config: Config, span: int) -> frozenset[int]:
    held = {run.span for run in read_ledger(config) if run.state == "held" and not run.released and run.span > span}
    forgotten = SuppressionList.load(config.suppression_list_path)
    return frozenset(held | (set() if forgotten is None else set(forgotten.spans)))


def _identity(config: Config, champion: int, version: int) -> str:
    given = GraphParameters.of(config)
    settings = [given.trainer.to_json(), given.transform.to_json(), config.stream.model_dump(mode="json")]
    return hashlib.sha256(json.dumps([champion, version, settings], sort_keys=True).encode()).hexdigest()[:16]
