"""Days of a small shop as they are measured: sessions through shelves, within opening hours."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from components.span_guard.figures import Day

HOUR, DAY = 3_600_000, 86_400_000
FIRST = 20_000  # a span's number
ITEMS, KEYS, PRICES = 120, 400, 40


def make_day(span: int, seed: int = 0, sessions: int = 150) -> Day:
    """One day's events: who has a favourite shelf, walks along it item by item, and pays what an item costs."""
    random = np.random.default_rng([span, seed])
    keys = random.integers(0, KEYS, sessions)
    length = 3 + random.poisson(3, sessions)
    owner = np.repeat(np.arange(sessions), length)
    step = np.arange(len(owner)) - np.repeat(np.cumsum(length) - length, length)
    shelf = random.zipf(1.6, sessions).clip(1, 24)[owner]
    items = ((shelf - 1) * 5 + (step + random.integers(0, 5, sessions)[owner]) % 5) % ITEMS
    opened = np.sort(random.normal(14, 2, sessions).clip(9, 19) * HOUR)
    times = span * DAY + opened[owner] + step * 30_000
    order = np.argsort(times, kind="stable")
    return Day(
        keys=_ids("K", keys[owner][order], 5),
        items=_ids("I", items[order], 4),
        timestamps=times[order].astype(np.int64),
        columns={"price": pa.array((items[order] * 7 % PRICES).astype(np.float32))},
        rows=len(owner),
        rejects=0,
        duplicates=0,
        start=span * DAY,
    )


def _ids(letter: str, numbers: np.ndarray, digits: int) -> pa.Array:
    return pa.array([f"{letter}{number:0{digits}d}".encode() for number in numbers.tolist()], pa.binary())
