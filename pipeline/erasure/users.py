"""Erases users: from every file under the root and from ML Metadata, and keeps them from coming back.

The plan is on the disk before anything is changed, then the hash that keeps them out, then what holds their ids is
rewritten, each file beside and renamed. A process that is killed leaves the journal; the next `warmspan forget`, or the
next run, goes on from it. Every step done twice changes nothing more.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from ml_metadata.metadata_store import metadata_store

from components.incremental_trainer.artifact_files import MEMORY_FILE, SERVING_FOLDER, STATE_FOLDER
from components.object_store.address import StoreAddress
from components.span_example_gen.ids import read_id
from components.span_pusher.version_folder import clear_leftovers, versions
from components.span_transform.erasure import erase_in_vocabulary
from components.suppression_list import SuppressionList
from pipeline.config import Config
from pipeline.config.root_address import decimal_ids_of
from pipeline.erasure.errors import ErasureError
from pipeline.erasure.formats.examples import count_examples_of
from pipeline.erasure.formats.registry import format_of
from pipeline.erasure.id_matcher import IdMatcher
from pipeline.erasure.journal import Journal, journal_path
from pipeline.erasure.learned_rows import erase_in_memory, erase_in_state, exemplars_in, tables_of_keys
from pipeline.erasure.metadata import erase_in_store
from pipeline.erasure.search import search
from pipeline.ledger.artifacts import MEMORY, MODEL, STATES, TEACHER, ArtifactRecord, PipelineArtifacts, read_artifacts
from pipeline.ledger.models import LEARNED
from pipeline.metadata_store.connection import open_store
from pipeline.metadata_store.exclusive import exclusive
from pipeline.operations.accounting import check_accounted
from pipeline.operations.garbage_collection import leftovers
from pipeline.operations.publication import publish
from pipeline.operations.trash import empty_trash
from pipeline.stream.folder import discard
from serving.bundle.erasure import AWAY, erase_in_bundle, mend_exchange
from trainer.vocabulary import Vocabulary

_VOCABULARY, _HISTORY = STATES
_EXAMPLES = ("SpanExampleGen/examples", "SpanTransform/sequences", "SpanTransform/held_out")
_TRAINED_ON = "SpanTransform/sequences"


@dataclasses.dataclass(frozen=True)
class Sighting:
    """Where users were seen: a kind of artifact, the spans of those that hold them, and how often they do."""

    kind: str
    spans: tuple[int, ...]
    count: int


@dataclasses.dataclass(frozen=True)
class Erasure:
    """What forgetting does.

    Attributes:
      users: ids.
      seen: by kind of artifact, oldest kinds first.
      files: other files under the root that hold an id, by path below it.
      learned: versions of models whose weights learned from them, oldest first.
      own: the user's own event files that hold an id, which lie outside of the root and are not touched; in a store,
        whose files are not searched, where they all lie.
      journal: what is to be done.
    """

    users: tuple[bytes, ...]
    seen: tuple[Sighting, ...]
    files: tuple[str, ...]
    learned: tuple[int, ...]
    own: tuple[str, ...]
    journal: Journal

    @property
    def empty(self) -> bool:
        """Whether nothing under the root holds any of the ids."""
        return not (self.seen or self.files)


def make_erasure(config: Config, users: Sequence[str]) -> Erasure:
    """Looks where users were seen; changes nothing.

    Raises:
      ErasureError: an id is empty, or nothing has been run.
      DisagreementError: the ledger and the disk disagree.
    """
    if not all(users):
        raise ErasureError("`--user` must be an id. Received: ''.")
    store = open_store(config)
    if store is None:
        raise ErasureError(f"A root must have been run before it can forget. Received: {config.root}, with no ledger.")
    rule = decimal_ids_of(config)
    ids = tuple(sorted({read_id(user, rule).encode() for user in users}))
    matcher, records = IdMatcher.of(ids), read_artifacts(config, store)
    check_accounted(config, store, records)
    rows, seen = _in_vocabularies(records, ids)
    times: set[int] = set()
    trained: set[int] = set()
    for kind in _EXAMPLES:
        times_by_span: dict[int, int] = {}
        for record in records.of(kind):
            for path in sorted(record.folder.glob("Split-*/*.gz")):
                count, when = count_examples_of(path, ids)
                if count:
                    times_by_span[record.span] = times_by_span.get(record.span, 0) + count
                times |= when
        if times_by_span:
            seen.append(Sighting(kind, tuple(sorted(times_by_span)), sum(times_by_span.values())))
        if kind == _TRAINED_ON:
            trained |= set(times_by_span)
    trained |= _long_ago(records, ids)
    models = [
        record for record in records.of(MODEL) if trained & set(json.loads(record.properties.get("learned", "[]")))
    ]
    seen += _states(records, matcher)
    journal = Journal(ids, rows, tuple(sorted(times)), tuple(model.id for model in models))
    seen += _exemplars(records, journal)
    placed = {record.folder for record in records.all}
    others = [
        path
        for path in search(config.root, matcher, skip={journal_path(config), config.root / "metadata.sqlite"})
        if not placed & set(path.parents)
    ]
    return Erasure(
        users=ids,
        seen=tuple(seen),
        files=tuple(str(path.relative_to(config.root)) for path in others),
        learned=tuple(sorted({model.version for model in models})),
        own=_own(config.data.path, matcher),
        journal=journal,
    )


def _own(place: Path | StoreAddress, matcher: IdMatcher) -> tuple[str, ...]:
    if isinstance(place, StoreAddress):
        return (f"{place} (in a store, not searched)",)
    return tuple(map(str, search(place, matcher))) if place.exists() else ()


def carry_out(config: Config, planned: Erasure) -> list[Path]:
    """Erases what was planned, and what an erasure that was cut off has left to do.

    Returns:
      Files under the root that still hold an id, because nobody knows how they are written.

    Raises:
      LockedError: a run is going on.
    """
    with exclusive(config):
        planned.journal.joined(Journal.load(config)).save(config)
        return finish(config)


def finish(config: Config) -> list[Path]:
    """Ends an erasure that was cut off, if there is one. The caller holds the root's lock. Returns as `carry_out`."""
    journal, store = Journal.load(config), open_store(config)
    if journal is None or store is None:
        return []
    forgotten = (SuppressionList.load(config.suppression_list_path) or SuppressionList.new()).with_users(journal.users)
    # First of all: whatever comes after this, no delivery brings them back.
    forgotten.save(config.suppression_list_path)
    discard(config)  # a copy of the day that can be made again
    shutil.rmtree(config.workers_path, ignore_errors=True)  # what a training that failed would go on from
    matcher = IdMatcher.of(journal.users)
    records = read_artifacts(config, store)
    stand_ins = _stand_ins(journal, forgotten)
    _bundles(config, store, records, journal, stand_ins)
    empty_trash(config)
    for path in leftovers(config, store, records):
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    clear_leftovers(config.serving_path)
    for record in records.of(_VOCABULARY):
        erase_in_vocabulary(record.folder, "keys", stand_ins)
    rows_of = _rows_by_version(records, journal)
    first = _first_row(records)
    for record in records.of(MEMORY):
        erase_in_memory(record.folder / MEMORY_FILE, rows_of.get(record.version, ()), journal.times, first)
    _backtests(config, matcher)
    skip = {journal_path(config), *config.root.glob("metadata.sqlite*")}
    for path in search(config.root, matcher, skip):
        format_of(path).redact(path, matcher)
    if matcher.pattern:
        erase_in_store(config, store, matcher)
    left = list(search(config.root, matcher, skip={journal_path(config)}))
    Journal.remove(config)
    publish(config)
    return left


def _bundles(
    config: Config,
    store: metadata_store.MetadataStore,
    records: PipelineArtifacts,
    journal: Journal,
    stand_ins: Mapping[bytes, bytes],
) -> None:
    """Stored models, then the served ones, then the states, by which tables of keys are known in the others."""
    served = {version: config.serving_path / str(version) for version in _served(config)}
    for folder in (*(record.folder / SERVING_FOLDER for record in records.of(MODEL)), *served.values()):
        mend_exchange(folder)
    learned = set(journal.learned)
    marked = store.get_artifacts_by_id(sorted(learned)) if learned else []
    for artifact in marked:
        artifact.custom_properties[LEARNED].int_value = 1
    if marked:
        store.put_artifacts(marked)
    newest = {record.version: record for record in records.of(MODEL)}
    places: list[tuple[Path, ArtifactRecord | None]] = [
        (record.folder / SERVING_FOLDER, record) for record in records.of(MODEL)
    ]
    places += [(folder, newest.get(version)) for version, folder in served.items()]
    for folder, model in places:
        if not folder.exists():
            continue
        vocabulary = None if model is None else _vocabulary_of(records, model)
        rows = () if vocabulary is None else journal.rows.get(vocabulary.id, ())
        tables = [] if model is None else tables_of_keys(model.folder / STATE_FOLDER, config.model.type)
        erase_in_bundle(folder, stand_ins, rows, tables)
    for record in records.of(MODEL):
        vocabulary = _vocabulary_of(records, record)
        rows = () if vocabulary is None else journal.rows.get(vocabulary.id, ())
        erase_in_state(record.folder / STATE_FOLDER, config.model.type, rows)
    for record in records.of(TEACHER):
        vocabulary = _vocabulary_of(records, record)
        rows = () if vocabulary is None else journal.rows.get(vocabulary.id, ())
        erase_in_state(record.folder / STATE_FOLDER, record.properties["type"], rows)


def _served(config: Config) -> list[int]:
    """Versions in the folder, also one that is just being exchanged."""
    away = [path.name[1:].partition(".")[0] for path in config.serving_path.glob(f".*{AWAY}")]
    return sorted({*versions(config.serving_path), *(int(name) for name in away if name.isdecimal())})


def _stand_ins(journal: Journal, forgotten: SuppressionList) -> dict[bytes, bytes]:
    """What takes the place of each id: the same every time, and nobody can tell whose it was without the salt."""
    return {user: b"forgotten-" + forgotten.digest(b"row of " + user)[:24].encode() for user in journal.users}


def _vocabulary_of(records: PipelineArtifacts, model: ArtifactRecord) -> ArtifactRecord | None:
    """The vocabulary whose rows a model's tables have."""
    taken = records.taken.get(model.id, frozenset())
    vocabularies = [record for record in records.of(_VOCABULARY) if record.id in taken]
    return vocabularies[-1] if vocabularies else None


def _rows_by_version(records: PipelineArtifacts, journal: Journal) -> dict[int, tuple[int, ...]]:
    """Of every version the users' rows; those that its replay memory was handed on have never moved."""
    rows_by_version = {}
    for record in records.of(MODEL):
        if (vocabulary := _vocabulary_of(records, record)) is not None:
            rows_by_version[record.version] = journal.rows.get(vocabulary.id, ())
    return rows_by_version


def _first_row(records: PipelineArtifacts) -> int:
    every = records.of(_VOCABULARY)
    return Vocabulary.load(every[-1].folder, "keys").first_row if every else 1


def _in_vocabularies(
    records: PipelineArtifacts, ids: Sequence[bytes]
) -> tuple[dict[int, tuple[int, ...]], list[Sighting]]:
    rows: dict[int, tuple[int, ...]] = {}
    spans, count = set(), 0
    for record in records.of(_VOCABULARY):
        vocabulary = Vocabulary.load(record.folder, "keys")
        own_rows = [int(row) for row in vocabulary.lookup(list(ids)) if row >= vocabulary.first_row]
        rows[record.id] = tuple(own_rows)
        waiting = set(ids) & set(vocabulary.pending["id"].to_pylist())
        if own_rows or waiting:
            spans.add(record.span)
            count += len(own_rows) + len(waiting)
    return rows, [Sighting(_VOCABULARY, tuple(sorted(spans)), count)] if spans else []


def _long_ago(records: PipelineArtifacts, ids: Sequence[bytes]) -> set[int]:
    """Spans in which users may have been learned whose sequences are not there any more."""
    kept = {record.span for record in records.of(_TRAINED_ON)}
    known = {record.span for record in records.all if record.kind == _TRAINED_ON} - kept
    long_ago: set[int] = set()
    for record in records.of(_VOCABULARY):  # the newest alone does not say, where somebody has lost his row since
        vocabulary = Vocabulary.load(record.folder, "keys")
        rows = vocabulary.lookup(list(ids)) - vocabulary.first_row
        for row in rows[rows >= 0]:
            first, last = int(vocabulary.first_span[row]), int(vocabulary.last_span[row])
            long_ago |= {span for span in known if first <= span <= last}
    return long_ago


def _states(records: PipelineArtifacts, matcher: IdMatcher) -> list[Sighting]:
    sightings = []
    for kind in sorted({record.kind for record in records.all} - {*_EXAMPLES, _VOCABULARY}):
        hits = [(record.span, sum(search(record.folder, matcher).values())) for record in records.of(kind)]
        spans = {span for span, count in hits if count}
        if spans:
            sightings.append(Sighting(kind, tuple(sorted(spans)), sum(count for _, count in hits)))
    return sightings


def _exemplars(records: PipelineArtifacts, journal: Journal) -> list[Sighting]:
    rows, first = _rows_by_version(records, journal), _first_row(records)
    hits = [
        (record.span, exemplars_in(record.folder / MEMORY_FILE, rows.get(record.version, ()), journal.times, first))
        for record in records.of(MEMORY)
    ]
    spans = {span for span, count in hits if count}
    return [Sighting(MEMORY, tuple(sorted(spans)), sum(count for _, count in hits))] if spans else []


def _backtests(config: Config, matcher: IdMatcher) -> None:
    """What backtests have prepared and trained is made again when it is asked for; their tables stay."""
    folder = config.root / "backtest"
    if folder.exists() and search(folder, matcher):
        for path in sorted(folder.iterdir()):
            if path.is_dir():
                shutil.rmtree(path)
