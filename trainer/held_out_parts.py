"""Held-out events in two parts by key: one chooses epochs, rate and weights, the other judges what was chosen.

What was chosen by some events looks better on them than it is, by up to .018 of recall here; so no event is in both.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from trainer.ids import Ids, as_binary, hash_buckets

Part = Literal["select", "verdict"]
SELECT: Part = "select"
VERDICT: Part = "verdict"

_HASH_RANGE = 2**62


def in_verdict(keys: Ids, events: np.ndarray, share: float) -> np.ndarray:
    """Which of `keys` are in the part that judges: bool [n], with about `share` of the events.

    The keys are dealt in the order of a hash, each to the part that is then nearer to its share: what a small day holds
    out is often of a few keys, and a hash alone would leave one part empty every few days. The hash is salted, because
    the shards of a span are cut by the hash of the key alone.

    Args:
      keys: [n], none twice.
      events: int [n], how many events of each are held out; a key without any is in no part.
      share: above 0 and below 1.
    """
    dealt = np.flatnonzero(events)
    hashes = _salted_hashes(as_binary(keys).take(pa.array(dealt)))
    chosen = np.zeros(len(events), bool)
    judging = total = 0
    for at in dealt[np.argsort(hashes, kind="stable")].tolist():
        more = int(events[at])
        total += more
        chosen[at] = abs(judging + more - share * total) <= abs(judging - share * total)
        judging += more if chosen[at] else 0
    return chosen


def deals_to_verdict(keys: Ids, share: float) -> np.ndarray:
    """Which of `keys` judge wherever they come, bool [n]: those whose hash is in the first `share` of all.

    For events that come a few at a time: `in_verdict` deals the keys of a whole span.
    """
    return _salted_hashes(as_binary(keys)) < share * _HASH_RANGE


def _salted_hashes(keys: pa.Array) -> np.ndarray:
    salt = pa.scalar(b"verdict", pa.binary())
    return hash_buckets(pc.binary_join_element_wise(keys, salt, pa.scalar(b"/", pa.binary())), _HASH_RANGE)


def held_out_files(folder: str | Path, part: Part | None = None) -> list[str]:
    """The record files of a span's held-out positions, in name order.

    Args:
      folder: of the `held_out` artifact.
      part: the one that is wanted, None for both. A span from before there were parts is one whole: it is given for
        either.
    """
    files = {path: path.parent.name for path in sorted(Path(folder).glob("Split-*/*.gz"))}
    names = {f"Split-{SELECT}", f"Split-{VERDICT}"}.intersection(files.values())
    wanted = set(files.values()) if part is None or not names else {f"Split-{part}"}
    return [str(path) for path, split in files.items() if split in wanted]
