"""Who leaves the vocabularies: ids that are too old, and those asked for least where rows are limited.

Rows move when ids leave, and every table is copied once, so that it is not done every day: only when more ids have a
row than may, or a tenth of them is too old. Then all that are too old leave, and of the others as many that a tenth of
the rows is free again.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from components.catalogue_gen.state import load_table
from components.span_transform.settings import Settings
from components.span_transform.vocabulary_growth import Vocabularies
from trainer.features.declaration import ITEM, WITHDRAWN
from trainer.ids import index_in
from trainer.vocabulary import Header, Vocabulary

_FREE = 0.1  # of the rows, after ids have left; and of ids that are too old, before they do


def retired(today: Vocabularies, catalogue: str | None, settings: Settings) -> Vocabularies:
    """The vocabularies of the day without the ids that leave.

    An item that the catalogue (its folder; None without one) sells stays, however long it is since its last event.
    """
    for_sale = np.zeros(len(today.items.ids), bool)
    limited = settings.item_max_age is not None or settings.max_items is not None
    if catalogue is not None and limited:
        table = load_table(catalogue)
        assert table is not None
        for_sale = index_in(today.items.ids, table[ITEM].filter(pc.invert(table[WITHDRAWN]))) >= 0
    half_life = settings.half_life_spans
    return Vocabularies(
        items=without_retired(today.items, settings.item_max_age, settings.max_items, half_life, for_sale),
        keys=without_retired(today.keys, settings.key_max_age, settings.max_keys, half_life),
    )


def without_retired(
    vocabulary: Vocabulary,
    max_age: int | None,
    max_rows: int | None,
    half_life: float,
    stay: npt.NDArray[np.bool_] | None = None,
) -> Vocabulary:
    """The vocabulary without the ids that leave on its span, and without what waits beyond the same limits.

    Args:
      vocabulary: grown by the span's events.
      max_age: spans since an id's last event, after which it leaves; None for never.
      max_rows: ids that have a row; None for any number.
      half_life: of the vocabulary's `recent`, in spans.
      stay: bool [n], ids that stay whatever holds of them.
    """
    count, stays = len(vocabulary.ids), np.zeros(len(vocabulary.ids), bool) if stay is None else stay
    old = np.zeros(count, bool) if max_age is None else vocabulary.last_span < vocabulary.span - max_age
    old &= ~stays
    if (max_rows is not None and count > max_rows) or old.sum() > _FREE * count:
        leaves = old
        if max_rows is not None and count - int(old.sum()) > max_rows:
            more = count - int(old.sum()) - int((1 - _FREE) * max_rows)
            # Those that stay and those that leave already are last in line.
            line = np.lexsort([-np.arange(count), vocabulary.recent, stays | old])
            leaves = old.copy()
            leaves[line[: min(more, int((~stays & ~old).sum()))]] = True
        vocabulary = vocabulary.compacted(~leaves)
    return dataclasses.replace(vocabulary, pending=_waiting(vocabulary.pending, max_age, max_rows, half_life))


def _waiting(pending: pa.Table, max_age: int | None, max_rows: int | None, half_life: float) -> pa.Table:
    """Of the ids without a row those that are young enough, and no more of them than there may be rows."""
    if max_age is not None:  # of an id that was seen often its events are forgotten later
        pending = pending.filter(pc.greater_equal(pending["recent"], 0.5 ** (max_age / half_life)))
    if max_rows is not None and len(pending) > max_rows:
        strongest = np.argsort(-pending["recent"].to_numpy(), kind="stable")[:max_rows]
        pending = pending.take(pa.array(np.sort(strongest)))
    return pending.combine_chunks()


def count_retired(today: Vocabulary | Header, yesterday: Vocabulary | Header) -> int:
    """How many ids that had a row yesterday, or got one today, have none after today."""
    return yesterday.size + today.given - yesterday.given - today.size
