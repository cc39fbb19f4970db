"""How the day's new positions reach the vocabularies: counted where they are read, merged in one place."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components.catalogue_gen.state import load_table
from components.span_transform import history as history_lib
from components.span_transform import query_columns
from components.span_transform.events import key_hashes
from components.span_transform.settings import Settings
from trainer.features.declaration import ITEM, OF_WORDS, WITHDRAWN, Feature
from trainer.features.feature_state import FeatureState
from trainer.row_numbers import Numbering
from trainer.vocabulary import Vocabulary, read_header

KINDS = ("items", "keys")
_NEVER = 2**62  # events, that no key reaches


@dataclasses.dataclass(frozen=True)
class Vocabularies:
    """The two vocabularies of an artifact."""

    items: Vocabulary
    keys: Vocabulary

    @classmethod
    def load(cls, folder: str | Path | None, oov_rows: int) -> Vocabularies:
        """Reads an artifact's vocabularies; empty ones when there is none yet."""
        if folder is None:
            return cls(Vocabulary.empty(oov_rows), Vocabulary.empty(oov_rows))
        return cls(Vocabulary.load(folder, "items"), Vocabulary.load(folder, "keys"))

    @property
    def numbering(self) -> Numbering:
        """What the rows are called in the files of a span."""
        return Numbering(self.items.row_numbers, self.keys.row_numbers)

    def save(self, folder: str | Path) -> None:
        self.items.save(folder, "items")
        self.keys.save(folder, "keys")


def count_train(events: pa.Table, file: int, features: Sequence[Feature] | None = None) -> dict[str, pa.Table]:
    """Counts the items, the keys and the values of features of one file of today's train events."""
    order = np.argsort(events["timestamp"].to_numpy(), kind="stable")
    events = events.take(pa.array(order))
    place = {"phase": 1, "time": events["timestamp"].to_numpy(), "major": file, "minor": order}
    columns = {of.vocabulary: events[of.vocabulary] for of in features or ()}
    return {
        "items": _count(events["item"], place),
        "keys": _count(events["key"], place),
        **_count_features(columns, place, features or ()),
    }


def count_released(history: pa.Table, features: Sequence[Feature] | None = None) -> dict[str, pa.Table]:
    """Counts those of yesterday's held-out events, which today are trained on.

    Their order is by time, then by a hash of the key, so that it does not depend on the division into shards.
    """
    kept = history_lib.lengths(history["items"])
    position = np.arange(kept.sum()) - np.repeat(np.cumsum(kept) - kept, kept)
    key = np.repeat(np.arange(len(kept)), kept)
    released = position >= np.repeat(kept - history["held_out"].to_numpy(), kept)
    key, position = key[released], position[released]
    time = pc.list_flatten(history["timestamps"]).to_numpy()[released]
    major = key_hashes(history["key"])[key]
    order = np.lexsort((position, major, time))
    place = {"phase": 0, "time": time[order], "major": major[order], "minor": position[order]}

    def flat(name: str) -> pa.ChunkedArray:
        return pc.list_flatten(history[name]).filter(pa.array(released)).take(pa.array(order))

    return {
        "items": _count(flat("items"), place),
        "keys": _count(history["key"].take(pa.array(key[order])), place),
        **_count_features({of.vocabulary: flat(of.vocabulary) for of in features or ()}, place, features or ()),
    }


def grow(
    yesterday: Vocabularies, counted: Iterable[dict[str, pa.Table]], span: int, settings: Settings
) -> Vocabularies:
    """Yesterday's vocabularies, grown by the counts of all files.

    Keys that end get no row, which would be theirs for good: they are counted for a span and the next.
    """
    counted = list(counted)
    ending = settings.keys_end_after is not None
    least = {"items": settings.item_min_count, "keys": _NEVER if ending else settings.key_min_count}
    grown = {}
    for kind in KINDS:
        parts = _in_order([part[kind] for part in counted])
        ids, counts = parts["id"], parts["count"].to_numpy()
        vocabulary = getattr(yesterday, kind)
        grown[kind] = vocabulary.grow(ids, span, least[kind], settings.half_life_spans, counts)
    if ending:
        grown["keys"] = grown["keys"].without_pending_before(yesterday.keys.span)
    return Vocabularies(**grown)


def grow_features(
    counted: Iterable[dict[str, pa.Table]], yesterday: str | None, folder: str, span: int, settings: Settings
) -> None:
    """Takes the values of key and context in; their state lies in `folder`, beside the vocabularies."""
    features = settings.query_features or ()
    words = {of.vocabulary for of in features if of.kind in OF_WORDS}
    counted = list(counted)
    merged = {name: _in_order([part[name] for part in counted]) for name in words}
    numbers = [{name: table for name, table in part.items() if name not in words} for part in counted]
    before = FeatureState.load(yesterday, features)
    query_columns.grown(before, [merged, *numbers], features, span).save(folder, features)


def with_catalogue(
    today: Vocabularies, yesterday: str | None, catalogue: str | None, folder: str, settings: Settings
) -> Vocabularies:
    """Gives every item that the catalogue sells a row, before its first event, and takes its features in.

    Args:
      today: grown by the day's events.
      yesterday: the folder of yesterday's; None for none.
      catalogue: the folder of the catalogue; None where there is none, and nothing to be done.
      folder: of today's, where the state of features goes.
      settings: the transform's.
    """
    if catalogue is None:
        return today
    table = load_table(catalogue)
    assert table is not None
    span, features = today.items.span, settings.features or ()
    after = -1 if yesterday is None else read_header(yesterday, "items").span
    FeatureState.load(yesterday, features).grown(table, features, span, after).save(folder, features)
    sold = table[ITEM].filter(pc.invert(table[WITHDRAWN]))
    return dataclasses.replace(today, items=today.items.admit(sold, span))


def first_met(folder: str, kind: str, span: int) -> int:
    """How many ids with a row were first seen in `span`."""
    first_span = pq.read_table(Path(folder) / f"{kind}.parquet", columns=["first_span"])["first_span"]
    return pc.sum(pc.equal(first_span, span)).as_py() or 0


# Where an event stands among the day's new positions, most significant first.
_PLACE = ("phase", "time", "major", "minor")
_COUNTED = pa.schema([("id", pa.binary()), ("count", pa.int64()), *((name, pa.int64()) for name in _PLACE)])


def _in_order(tables: list[pa.Table]) -> pa.Table:
    parts = pa.concat_tables([_COUNTED.empty_table(), *tables])
    return parts.take(pa.array(np.lexsort([parts[name].to_numpy() for name in reversed(_PLACE)])))


def _count_features(
    columns: dict[str, pa.ChunkedArray], place: dict[str, int | np.ndarray], features: Sequence[Feature]
) -> dict[str, pa.Table]:
    """Of words, counted like ids; of numbers, see `query_columns.seen_numbers`."""
    tables = {}
    for feature in features:
        column = columns[feature.vocabulary]
        values = pa.concat_arrays([pa.array([], column.type), *column.chunks])
        if feature.kind not in OF_WORDS:
            tables[feature.vocabulary] = query_columns.seen_numbers(values)
            continue
        words = query_columns.words_of(values, feature)
        lists = pa.types.is_list(words.type)
        sizes = (pc.fill_null(pc.list_value_length(words), 0) if lists else words.is_valid()).to_numpy(False)
        owner = np.repeat(np.arange(len(words)), sizes.astype(np.int64))
        where = {name: of if isinstance(of, int) else of[owner] for name, of in place.items()}
        flat = words.flatten() if lists else words.drop_null()
        tables[feature.vocabulary] = _count(pa.chunked_array([flat], pa.binary()), where)
    return tables


def _count(ids: pa.ChunkedArray, place: dict[str, int | np.ndarray]) -> pa.Table:
    """Counts ids given in order; `place` says where each stands, of which that of the first occurrence is kept."""
    encoded = pa.concat_arrays([pa.array([], pa.binary()), *ids.chunks]).dictionary_encode()
    codes = encoded.indices.to_numpy(zero_copy_only=False)
    first = np.zeros(len(encoded.dictionary), np.int64)
    first[codes[::-1]] = np.arange(len(codes))[::-1]
    counts = np.bincount(codes, minlength=len(first)).astype(np.int64)
    where = [np.broadcast_to(place[name], len(codes))[first] for name in _PLACE]
    return pa.Table.from_arrays(
        [encoded.dictionary, *(pa.array(column, pa.int64()) for column in (counts, *where))], schema=_COUNTED
    )
