"""Session data by span, as rows of a growing vocabulary: what the continual-learning benchmark reads."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from trainer.input_pipeline import Positions, Sequences

_FIRST_ROW = 2  # after padding and one out-of-vocabulary row
_KEY = 1  # sessions do not come back: none has a row of its own


@dataclasses.dataclass(frozen=True)
class SessionSpans:
    """Sessions cut at the borders of the spans; item rows are given in order of first appearance.

    Attributes:
      items: int64 [n], rows of all events; sessions one after the other, oldest span first.
      splits: int64 [s + 1], of sessions.
      first_session: int64 [spans + 1], the sessions of span i are `first_session[i]:first_session[i + 1]`.
    """

    items: np.ndarray
    splits: np.ndarray
    first_session: np.ndarray
    first_row: int = _FIRST_ROW

    @property
    def count(self) -> int:
        return len(self.first_session) - 1

    def events(self, span: int) -> int:
        return int(self.splits[self.first_session[span + 1]] - self.splits[self.first_session[span]])

    def items_until(self, span: int) -> int:
        """Rows of the item table after `span`."""
        return int(self.items[: self.splits[self.first_session[span + 1]]].max()) + 1

    def popularity(self, span: int, half_life: float, unlearned: Sequences) -> np.ndarray:
        """float64 [items], events until `span` but those of `unlearned`; `half_life` spans before they count half."""
        counts = np.zeros(self.items_until(span))
        for number in range(span + 1):
            begin, end = self.splits[self.first_session[[number, number + 1]]]
            counts += np.bincount(self.items[begin:end], minlength=len(counts)) * 0.5 ** ((span - number) / half_life)
        return counts - np.bincount(unlearned.items, minlength=len(counts))

    def sequences(self, span: int) -> Sequences:
        """All sessions of a span, every event new."""
        return self._chosen(np.arange(self.first_session[span], self.first_session[span + 1]))

    def split(self, span: int, share: float, seed: int) -> tuple[Sequences, Sequences]:
        """The sessions of a span without, and those in, a random `share` of them."""
        sessions = np.arange(self.first_session[span], self.first_session[span + 1])
        held_out = np.random.default_rng([seed, span]).random(len(sessions)) < share
        return self._chosen(sessions[~held_out]), self._chosen(sessions[held_out])

    def test_positions(self, span: int) -> Positions:
        """Every prefix of every session of `span`, of the items that occurred in the spans before it alone."""
        sequences = self.sequences(span)
        known = sequences.items < self.items_until(span - 1)
        owner = np.repeat(np.arange(len(sequences)), np.diff(sequences.splits))
        length = np.bincount(owner[known], minlength=len(sequences))
        return sequences_of(sequences.items[known], length).positions()

    def _chosen(self, sessions: np.ndarray) -> Sequences:
        length = np.diff(self.splits)[sessions]
        begin = np.cumsum(length) - length
        at = np.arange(length.sum()) - np.repeat(begin, length) + np.repeat(self.splits[sessions], length)
        return sequences_of(self.items[at], length)


def read_spans(folder: Path, session: str, item: str, timestamp: str) -> SessionSpans:
    """Reads `<folder>/<date>/*` in order of the dates. A session that straddles two spans is cut in two."""
    row_of: dict[str, int] = {}
    items, lengths, first_session = [], [], [0]
    for day in sorted(path for path in folder.iterdir() if path.is_dir()):
        table = pa.concat_tables([_read(path, (session, item, timestamp)) for path in sorted(day.iterdir())])
        order = np.argsort(table[timestamp].to_numpy(), kind="stable")
        ids = table[item].take(order).cast(pa.string()).to_pylist()
        rows = np.array([row_of.setdefault(id_, len(row_of) + _FIRST_ROW) for id_ in ids], np.int64)
        owner = table[session].take(order).combine_chunks().dictionary_encode().indices.to_numpy()
        items.append(rows[np.argsort(owner, kind="stable")])
        lengths.append(np.bincount(owner))
        first_session.append(first_session[-1] + len(lengths[-1]))
    splits = np.concatenate([[0], *lengths]).cumsum().astype(np.int64)
    return SessionSpans(np.concatenate(items), splits, np.array(first_session, np.int64))


def _read(path: Path, columns: tuple[str, ...]) -> pa.Table:
    table = pa.csv.read_csv(path) if path.suffix == ".csv" else pa.parquet.read_table(path)
    return table.select(list(columns))


def sequences_of(items: np.ndarray, length: np.ndarray) -> Sequences:
    """Sessions of `length`; a position's first event has nothing to be predicted from, so `first_new` is 1."""
    return Sequences(
        items=items,
        timestamps=np.arange(len(items), dtype=np.int64),
        weights=np.ones(len(items), np.float32),
        splits=np.concatenate([[0], np.cumsum(length)]).astype(np.int64),
        key=np.full(len(length), _KEY, np.int64),
        first_new=np.minimum(length, 1).astype(np.int64),
        first_today=np.minimum(length, 1).astype(np.int64),
    )
