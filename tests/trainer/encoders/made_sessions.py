"""Sessions over a made catalogue, whose texts say what follows what: one of a kind after another of its kind."""

from __future__ import annotations

import numpy as np

from trainer.encoders.text_positions import ItemTexts
from trainer.input_pipeline import Sequences

FIRST_ROW = 1  # of the vocabulary, as with a single out-of-vocabulary row
KINDS = ("shoe", "hat", "coat")
LENGTH = 12  # tokens


def made_texts(many: int) -> ItemTexts:
    """Of `many` items a kind, in turn; most of what a text says is noise: "red 7 shoe", "wool k shoe"."""
    signs, words = "abcdefghijklmnopqrstuvwxyz0123456789", ("red", "wool", "blue")
    texts = tuple(
        f"{words[(number // 7) % 3]} {signs[number % 36]} {signs[(number * 5) % 36]} {kind}"
        for number in range(many)
        for kind in KINDS
    )
    return ItemTexts(texts, np.concatenate([np.full(FIRST_ROW, -1), np.arange(len(texts))]))


def made_span(seed: int, sessions: int, items: range, length: int = 4) -> Sequences:
    """Sessions of `length` different items of one kind each, of `items` a kind, all of them new."""
    rng = np.random.default_rng(seed)
    if not sessions:
        return Sequences.empty()
    rows = [
        FIRST_ROW + rng.choice(np.array(items), length, replace=False) * len(KINDS) + rng.integers(len(KINDS))
        for _ in range(sessions)
    ]
    count = sessions * length
    return Sequences(
        items=np.concatenate(rows).astype(np.int64),
        timestamps=np.arange(count, dtype=np.int64),
        weights=np.ones(count, np.float32),
        splits=np.arange(0, count + 1, length, dtype=np.int64),
        key=np.arange(sessions, dtype=np.int64),
        first_new=np.zeros(sessions, np.int64),
        first_today=np.zeros(sessions, np.int64),
    )
