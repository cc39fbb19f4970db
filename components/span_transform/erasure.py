"""Takes users out of a vocabulary. No row of anybody else moves."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from trainer.vocabulary import Vocabulary

_NEVER = -1


def erase_in_vocabulary(folder: Path, name: str, ids: Mapping[bytes, bytes]) -> int:
    """Puts the stand-in of each id into its place, with nothing known of it; returns how many ids there were.

    Args:
      folder: of the vocabularies.
      name: of one of them.
      ids: id to its stand-in, which keeps the row from being given to another.
    """
    vocabulary = Vocabulary.load(folder, name)
    of_users = np.array([id_ in ids for id_ in vocabulary.ids.to_pylist()], bool)
    waiting = np.array([id_ in ids for id_ in vocabulary.pending["id"].to_pylist()], bool)
    if not of_users.any() and not waiting.any():
        return 0
    dataclasses.replace(
        vocabulary,
        ids=pa.array([ids.get(id_, id_) for id_ in vocabulary.ids.to_pylist()], pa.binary()),
        counts=np.where(of_users, 0, vocabulary.counts),
        recent=np.where(of_users, 0.0, vocabulary.recent),
        first_span=np.where(of_users, _NEVER, vocabulary.first_span),
        last_span=np.where(of_users, _NEVER, vocabulary.last_span),
        pending=vocabulary.pending.filter(pa.array(~waiting)),
    ).save(folder, name)
    return int(of_users.sum() + waiting.sum())
