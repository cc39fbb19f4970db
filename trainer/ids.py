"""Ids as Arrow arrays: read from what a caller has, hashed, counted and looked up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Ids: TypeAlias = pa.Array | pa.ChunkedArray | npt.NDArray[np.object_] | Sequence[bytes] | Sequence[str]


def as_binary(ids: Ids) -> pa.Array:
    """`ids` as one `[n]` binary array; text becomes UTF-8.

    Raises:
      ValueError: an id is missing (null), or `ids` is a fixed-width numpy array, which drops NULs at the end of an id.
    """
    if isinstance(ids, np.ndarray) and ids.dtype.kind == "S":
        raise ValueError(
            f"`ids` must be an object array: numpy's fixed-width bytes drop trailing NULs. Received: dtype {ids.dtype}."
        )
    array = one_array(ids if isinstance(ids, (pa.Array, pa.ChunkedArray)) else pa.array(ids, pa.binary()))
    if array.null_count:
        raise ValueError(f"`ids` must not hold missing values. Received: {array.null_count} of {len(array)}.")
    return array if array.type == pa.binary() else array.cast(pa.binary())


def hash_buckets(ids: Ids, buckets: int) -> npt.NDArray[np.int64]:
    """`tf.strings.to_hash_bucket_fast`, `[n]` int64 in [0, buckets): what the serving graph computes.

    TensorFlow is imported only when there is something to hash.
    """
    ids = as_binary(ids)
    if buckets == 1 or not len(ids):
        return np.zeros(len(ids), np.int64)
    from trainer.keras2 import tf

    return tf.strings.to_hash_bucket_fast(ids.to_numpy(zero_copy_only=False), buckets).numpy()


def count_ids(ids: pa.Array, counts: npt.ArrayLike | None) -> tuple[pa.Array, npt.NDArray[np.int64]]:
    """Each of `ids` once, in the order of its first occurrence, and how often it occurs, or the sum of its `counts`."""
    encoded = ids.dictionary_encode()
    codes = encoded.indices.to_numpy(zero_copy_only=False)
    if counts is None:
        return encoded.dictionary, np.bincount(codes, minlength=len(encoded.dictionary)).astype(np.int64)
    totals = np.zeros(len(encoded.dictionary), np.int64)
    np.add.at(totals, codes, np.asarray(counts, np.int64))
    return encoded.dictionary, totals


def index_in(ids: pa.Array, known_ids: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """Where each of `ids` stands in `known_ids`, `[n]`; -1 where it does not."""
    if not len(known_ids) or not len(ids):
        return np.full(len(ids), -1, np.int64)
    if 4 * len(ids) > len(known_ids):
        return _found(pc.index_in(ids, value_set=one_array(known_ids)))
    # Arrow hashes the whole of `value_set` on every call, which is dear for the larger one of the two.
    encoded = ids.dictionary_encode()
    code = _found(pc.index_in(one_array(known_ids), value_set=encoded.dictionary))
    place = np.full(len(encoded.dictionary), -1, np.int64)
    place[code[code >= 0]] = np.flatnonzero(code >= 0)
    return place[encoded.indices.to_numpy(zero_copy_only=False)]


def _found(index: pa.Array) -> npt.NDArray[np.int64]:
    return pc.fill_null(index, -1).to_numpy(zero_copy_only=False).astype(np.int64)


def one_array(array: pa.Array | pa.ChunkedArray) -> pa.Array:
    """The values of all chunks."""
    if not isinstance(array, pa.ChunkedArray):
        return array
    if array.num_chunks == 1:
        return array.chunk(0)
    return pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)


def as_numpy(column: pa.ChunkedArray) -> npt.NDArray:
    """A column without nulls."""
    return one_array(column).to_numpy(zero_copy_only=False)
