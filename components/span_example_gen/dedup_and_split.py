"""Which events of a span are kept, and on which side of the cut they stand."""

from __future__ import annotations

import numpy as np

DUPLICATE, TRAIN, EVAL = 0, 1, 2


def select(hashes: np.ndarray, times: np.ndarray, eval_fraction: float) -> np.ndarray:
    """Decides for all events of a span, given in the order of the user's files.

    Of equal events the first is kept. The last `floor(eval_fraction * kept)` of the kept ones by time are `EVAL`, the
    others `TRAIN`. Events of one time are not torn apart, so that every held-out event is later than every trained one:
    those at the cut all go to the side that brings the number held out nearer to what was asked, to `TRAIN` where both
    do, as long as neither side is left empty. Only where all events have one time does their place in the files decide.

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
    sides = [side for side in (times > cut, times >= cut) if side.any() and not side.all()]
    if not sides:
        return np.arange(len(times)) >= first
    return min(sides, key=lambda side: abs(int(side.sum()) - count))
