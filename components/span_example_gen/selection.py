"""Which events of a span are kept, and on which side of the cut they stand."""

from __future__ import annotations

import numpy as np

DUPLICATE, TRAIN, EVAL = 0, 1, 2


def select(hashes: np.ndarray, times: np.ndarray, eval_fraction: float) -> np.ndarray:
    """Decides for all events of a span, given in the order of the user's files.

    Of equal events the first is kept. The last `floor(eval_fraction * kept)` of the kept ones by time are `EVAL`, the
    others `TRAIN`. Events of one time are not torn apart: those at the cut all go to `TRAIN`, so that every held-out
    event is later than every trained one; to `EVAL` where nothing would be held out otherwise. Only where all events
    have one time does their place in the files decide.

    Args:
      hashes: uint64 [n, 2].
      times: int64 [n], unix milliseconds.
      eval_fraction: at least 0, below 1.

    Returns:
      uint8 [n] of `DUPLICATE`, `TRAIN`, `EVAL`.
    """
    chosen = np.where(_repeats(hashes), DUPLICATE, TRAIN).astype(np.uint8)
    kept = np.flatnonzero(chosen)
    held_out = int(np.floor(eval_fraction * len(kept) + 1e-9))
    if held_out:
        chosen[kept[_last_by_time(times[kept], held_out)]] = EVAL
    return chosen


def _repeats(hashes: np.ndarray) -> np.ndarray:
    order = np.lexsort((hashes[:, 1], hashes[:, 0]))
    ordered = hashes[order]
    repeats = np.zeros(len(hashes), dtype=bool)
    # The sort is stable: the first of equal hashes is the first in the files.
    repeats[order[1:]] = (ordered[1:] == ordered[:-1]).all(axis=1)
    return repeats


def _last_by_time(times: np.ndarray, count: int) -> np.ndarray:
    first = len(times) - count
    cut = np.partition(times, first)[first]
    at_or_after = times >= cut
    if at_or_after.sum() == count:
        return at_or_after
    after = times > cut
    if after.any():
        return after
    if not at_or_after.all():
        return at_or_after
    return np.arange(len(times)) >= first
