"""Vectors of items by their rows: the user's own, or what an encoder has made of a text."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from trainer.features.declaration import FIRST_ROW, MISSING, Feature
from trainer.vocabulary import Vocabulary

_DIGEST = "[0-9a-f]{12}"
_ENCODER = f"_({_DIGEST})(?:_{_DIGEST})?"  # how the name of a text's column ends: the encoder, and its tuned revision


@dataclasses.dataclass(frozen=True)
class Encoded:
    """What is known of some ids.

    Attributes:
      column: says what made the vectors: vectors of two columns are never mixed.
      vectors: float32 [ids, width].
      missing: bool [ids], which have none.
    """

    column: str
    vectors: np.ndarray
    missing: np.ndarray


@dataclasses.dataclass(frozen=True)
class ItemVectors:
    """What is known of all rows.

    Attributes:
      column: see `Encoded`.
      values: float16 [items, width], of length 1: half the memory of float32, and off by less than a thousandth.
      codes: int32 [items]: `FIRST_ROW` where there is a vector, `MISSING` where not, 0 where there is no item.
    """

    column: str
    values: np.ndarray
    codes: np.ndarray

    @property
    def vocabulary(self) -> str:
        """How its width is named in `TableSizes.words`, by which a model knows its column again."""
        return f"feature_{self.column}"


def item_vectors(feature: Feature, known: Encoded, items: Vocabulary) -> ItemVectors:
    """The vectors of ids as those of rows."""
    values = np.zeros((items.size, known.vectors.shape[1]), np.float16)
    lengths = np.linalg.norm(known.vectors, axis=1, keepdims=True)
    values[items.first_row :] = np.divide(known.vectors, lengths, out=np.zeros_like(known.vectors), where=lengths > 0)
    codes = np.zeros(items.size, np.int32)
    codes[items.first_row :] = np.where(known.missing, MISSING, FIRST_ROW)
    return ItemVectors(known.column, values, codes)


def matrix_of(values: pa.Array, feature: Feature) -> Encoded:
    """Of a `vector` as a catalogue keeps it, little-endian float32 in fixed-size binary; null where it is missing."""
    assert feature.width is not None
    missing = values.is_null().to_numpy(zero_copy_only=False)
    vectors = np.zeros((len(values), feature.width), np.float32)
    vectors[~missing] = np.frombuffer(b"".join(values.drop_null().to_pylist()), "<f4").reshape(-1, feature.width)
    return Encoded(feature.name, vectors, missing)


def column_of(feature: Feature, words: Sequence[tuple[str, int]]) -> tuple[str, int] | None:
    """The column of a feature's vectors and their width, by the names in `TableSizes.words`; None of none."""
    pattern = re.compile(f"feature_({feature.name}{_ENCODER if feature.kind == 'text' else ''})")
    for name, width in words:
        if match := pattern.fullmatch(name):
            return match[1], width
    return None


def feature_of(column: str) -> str:
    """The name of the feature whose vectors are in a column."""
    return re.sub(f"{_ENCODER}$", "", column)


def replaced_columns(before: Sequence[tuple[str, int]], after: Sequence[tuple[str, int]]) -> dict[str, str]:
    """Columns of texts that another encoder now makes, old to new, by the names in `TableSizes.words`."""
    return _other_columns(before, after, of_one_encoder=False)


def revised_columns(before: Sequence[tuple[str, int]], after: Sequence[tuple[str, int]]) -> dict[str, str]:
    """Columns of texts that another revision of the same encoder now makes, likewise."""
    return _other_columns(before, after, of_one_encoder=True)


def _other_columns(
    before: Sequence[tuple[str, int]], after: Sequence[tuple[str, int]], of_one_encoder: bool
) -> dict[str, str]:
    # Text to column and encoder. The shortest name of a text, or the encoder would be taken for a part of it.
    old, new = (
        {of[2]: (of[1], of[3]) for of in (re.fullmatch(f"feature_((.*?){_ENCODER})", name) for name, _ in words) if of}
        for words in (before, after)
    )
    return {
        old[name][0]: new[name][0]
        for name in sorted(old.keys() & new.keys())
        if old[name][0] != new[name][0] and (old[name][1] == new[name][1]) is of_one_encoder
    }
