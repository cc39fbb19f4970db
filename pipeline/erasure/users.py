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

from components.incremental_trainer.artifact_files import MEMORY_FILE, REFERENCE_FILE, SERVING_FOLDER, STATE_FOLDER
from components.span_pusher.version_folder import clear_leftovers, versions
from components.span_transform.erasure import forget_in_vocabulary, theirs_in
from components.suppression_list import Forgotten
from pipeline.config import Config
from pipeline.erasure.errors import ForgetError
from pipeline.erasure.id_matcher import Sought
from pipeline.erasure.journal import Journal, journal_path
from pipeline.erasure.metadata import forget_in_store
from pipeline.erasure.redaction import exemplars_in, forget_in_file, forget_in_memory, forget_in_state, tables_of_keys
from pipeline.erasure.search import search
from pipeline.ledger.artifacts import MEMORY, MODEL, STATES, Piece, Pieces, read_pieces
from pipeline.ledger.models import LEARNED
from pipeline.metadata_store.connection import open_store
from pipeline.metadata_store.root_lock import alone
from pipeline.metadata_store.run_lock import alone_in_store
from pipeline.operations.garbage_collection import leftovers
from serving.bundle.erasure import AWAY, forget_in_bundle, forget_in_reference, mend_exchange
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
      own: the user's own event files that hold an id; they lie outside of the root and are not touched.
      journal: what is to be done.
    """

    users: tuple[bytes, ...]
    seen: tuple[Sighting, ...]
    files: tuple[str, ...]
    learned: tuple[int, ...]
    own: tuple[Path, ...]
    journal: Journal

    @property
    def empty(self) -> bool:
        """Whether nothing under the root holds any of the ids."""
        return not (self.seen or self.files)


def make_erasure(config: Config, users: Sequence[str]) -> Erasure:
    """Looks where users were seen; changes nothing.

    Raises:
      ForgetError: an id is empty, or nothing has been run.
    """
    if not all(users):
        raise ForgetError("`--user` must be an id. Received: ''.")
    store = open_store(config)
    if store is None:
        raise ForgetError(f"A root must have been run before it can forget. Received: {config.root}, with no ledger.")
    ids = tuple(sorted({one.encode() for one in users}))
    sought, pieces = Sought.of(ids), read_pieces(config, store)
    rows, seen = _in_vocabularies(pieces, ids)
    times: set[int] = set()
    trained: set[int] = set()
    for kind in _EXAMPLES:
        found: dict[int, int] = {}
        for one in pieces.of(kind):
            for path in sorted(one.folder.glob("Split-*/*.gz")):
                count, when = theirs_in(path, ids)
                if count:
                    found[one.span] = found.get(one.span, 0) + count
                times |= when
        if found:
            seen.append(Sighting(kind, tuple(sorted(found)), sum(found.values())))
        if kind == _TRAINED_ON:
            trained |= set(found)
    trained |= _long_ago(pieces, ids)
    models = [one for one in pieces.of(MODEL) if trained & set(json.loads(one.properties.get("learned", "[]")))]
    seen += _states(pieces, sought)
    journal = Journal(ids, rows, tuple(sorted(times)), tuple(one.id for one in models))
    seen += _exemplars(pieces, journal)
    placed = {one.folder for one in pieces.all}
    others = [
        path
        for path in search(config.root, sought, skip={journal_path(config), config.root / "metadata.sqlite"})
        if not placed & set(path.parents)
    ]
    return Erasure(
        users=ids,
        seen=tuple(seen),
        files=tuple(str(path.relative_to(config.root)) for path in others),
        learned=tuple(sorted({one.version for one in models})),
        own=tuple(search(config.data.path, sought)) if config.data.path.exists() else (),
        journal=journal,
    )


def carry_out(config: Config, planned: Erasure) -> list[Path]:
    """Erases what was planned, and what an erasure that was cut off has left to do.

    Returns:
      Files under the root that still hold an id, because nobody knows how they are written.

    Raises:
      LockedError: a run is going on.
    """
    with alone(config.root), alone_in_store(config):
        planned.journal.joined(Journal.load(config)).save(config)
        return finish(config)


def finish(config: Config) -> list[Path]:
    """Ends an erasure that was cut off, if there is one. The caller holds the root's lock. Returns as `carry_out`."""
    journal, store = Journal.load(config), open_store(config)
    if journal is None or store is None:
        return []
    forgotten = (Forgotten.load(config.forgotten_path) or Forgotten.new()).with_users(journal.users)
    # First of all: whatever comes after this, no delivery brings them back.
    forgotten.save(config.forgotten_path)
    sought = Sought.of(journal.users)
    pieces = read_pieces(config, store)
    stand_ins = _stand_ins(journal, forgotten)
    _bundles(config, store, pieces, journal, stand_ins)
    for path in leftovers(config, pieces):
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    clear_leftovers(config.serving_path)
    for one in pieces.of(_VOCABULARY):
        forget_in_vocabulary(one.folder, "keys", stand_ins)
    rows_of = _rows_by_version(pieces, journal)
    first = _first_row(pieces)
    for one in pieces.of(MEMORY):
        forget_in_memory(one.folder / MEMORY_FILE, rows_of.get(one.version, ()), journal.times, first)
    _backtests(config, sought)
    skip = {journal_path(config), *config.root.glob("metadata.sqlite*")}
    for path in search(config.root, sought, skip):
        forget_in_file(path, sought)
    if sought.pattern:
        forget_in_store(config, store, sought.pattern)
    left = list(search(config.root, sought, skip={journal_path(config)}))
    Journal.remove(config)
    return left


def _bundles(
    config: Config,
    store: metadata_store.MetadataStore,
    pieces: Pieces,
    journal: Journal,
    stand_ins: Mapping[bytes, bytes],
) -> None:
    """Stored models, then the served ones, then the states, by which tables of keys are known in the others."""
    served = {version: config.serving_path / str(version) for version in _served(config)}
    for folder in (*(one.folder / SERVING_FOLDER for one in pieces.of(MODEL)), *served.values()):
        mend_exchange(folder)
    learned = set(journal.learned)
    marked = store.get_artifacts_by_id(sorted(learned)) if learned else []
    for artifact in marked:
        artifact.custom_properties[LEARNED].int_value = 1
    if marked:
        store.put_artifacts(marked)
    newest = {one.version: one for one in pieces.of(MODEL)}
    places: list[tuple[Path, Piece | None]] = [(one.folder / SERVING_FOLDER, one) for one in pieces.of(MODEL)]
    places += [(folder, newest.get(version)) for version, folder in served.items()]
    for folder, model in places:
        if not folder.exists():
            continue
        vocabulary = None if model is None else _vocabulary_of(pieces, model)
        rows = () if vocabulary is None else journal.rows.get(vocabulary.id, ())
        tables = [] if model is None else tables_of_keys(model.folder / STATE_FOLDER, config.model.type)
        forget_in_bundle(folder, stand_ins, rows, tables)
    for one in pieces.of(MODEL):
        forget_in_reference(one.folder / REFERENCE_FILE, journal.users)
        vocabulary = _vocabulary_of(pieces, one)
        rows = () if vocabulary is None else journal.rows.get(vocabulary.id, ())
        forget_in_state(one.folder / STATE_FOLDER, config.model.type, rows)


def _served(config: Config) -> list[int]:
    """Versions in the folder, also one that is just being exchanged."""
    away = [path.name[1:].partition(".")[0] for path in config.serving_path.glob(f".*{AWAY}")]
    return sorted({*versions(config.serving_path), *(int(one) for one in away if one.isdecimal())})


def _stand_ins(journal: Journal, forgotten: Forgotten) -> dict[bytes, bytes]:
    """What takes the place of each id: the same every time, and nobody can tell whose it was without the salt."""
    return {one: b"forgotten-" + forgotten.digest(b"row of " + one)[:24].encode() for one in journal.users}


def _vocabulary_of(pieces: Pieces, model: Piece) -> Piece | None:
    """The vocabulary whose rows a model's tables have."""
    taken = pieces.taken.get(model.id, frozenset())
    found = [one for one in pieces.of(_VOCABULARY) if one.id in taken]
    return found[-1] if found else None


def _rows_by_version(pieces: Pieces, journal: Journal) -> dict[int, tuple[int, ...]]:
    """Of every version the users' rows; those that its replay memory was handed on have never moved."""
    found = {}
    for one in pieces.of(MODEL):
        if (vocabulary := _vocabulary_of(pieces, one)) is not None:
            found[one.version] = journal.rows.get(vocabulary.id, ())
    return found


def _first_row(pieces: Pieces) -> int:
    every = pieces.of(_VOCABULARY)
    return Vocabulary.load(every[-1].folder, "keys").first_row if every else 1


def _in_vocabularies(pieces: Pieces, ids: Sequence[bytes]) -> tuple[dict[int, tuple[int, ...]], list[Sighting]]:
    rows: dict[int, tuple[int, ...]] = {}
    spans, count = set(), 0
    for one in pieces.of(_VOCABULARY):
        vocabulary = Vocabulary.load(one.folder, "keys")
        found = [int(row) for row in vocabulary.lookup(list(ids)) if row >= vocabulary.first_row]
        rows[one.id] = tuple(found)
        waiting = set(ids) & set(vocabulary.pending["id"].to_pylist())
        if found or waiting:
            spans.add(one.span)
            count += len(found) + len(waiting)
    return rows, [Sighting(_VOCABULARY, tuple(sorted(spans)), count)] if spans else []


def _long_ago(pieces: Pieces, ids: Sequence[bytes]) -> set[int]:
    """Spans in which users may have been learned whose sequences are not there any more."""
    every = pieces.of(_VOCABULARY)
    if not every:
        return set()
    vocabulary = Vocabulary.load(every[-1].folder, "keys")
    rows = [row - vocabulary.first_row for row in vocabulary.lookup(list(ids)) if row >= vocabulary.first_row]
    kept = {one.span for one in pieces.of(_TRAINED_ON)}
    known = {one.span for one in pieces.all if one.kind == _TRAINED_ON} - kept
    found: set[int] = set()
    for row in rows:
        first, last = int(vocabulary.first_span[row]), int(vocabulary.last_span[row])
        found |= {span for span in known if first <= span <= last}
    return found


def _states(pieces: Pieces, sought: Sought) -> list[Sighting]:
    found = []
    for kind in sorted({one.kind for one in pieces.all} - {*_EXAMPLES, _VOCABULARY}):
        hits = [(one.span, sum(search(one.folder, sought).values())) for one in pieces.of(kind)]
        spans = {span for span, count in hits if count}
        if spans:
            found.append(Sighting(kind, tuple(sorted(spans)), sum(count for _, count in hits)))
    return found


def _exemplars(pieces: Pieces, journal: Journal) -> list[Sighting]:
    rows, first = _rows_by_version(pieces, journal), _first_row(pieces)
    hits = [
        (one.span, exemplars_in(one.folder / MEMORY_FILE, rows.get(one.version, ()), journal.times, first))
        for one in pieces.of(MEMORY)
    ]
    spans = {span for span, count in hits if count}
    return [Sighting(MEMORY, tuple(sorted(spans)), sum(count for _, count in hits))] if spans else []


def _backtests(config: Config, sought: Sought) -> None:
    """What backtests have prepared and trained is made again when it is asked for; their tables stay."""
    folder = config.root / "backtest"
    if folder.exists() and search(folder, sought):
        for path in sorted(folder.iterdir()):
            if path.is_dir():
                shutil.rmtree(path)
