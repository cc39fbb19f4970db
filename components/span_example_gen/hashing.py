"""128-bit hashes of events, many at a time."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pyarrow as pa

LANES = 2


def hash_events(events: pa.RecordBatch) -> np.ndarray:
    """Hashes rows; equal rows get equal hashes in every process.

    Multilinear hashing (Lemire and Kaser, "Strongly universal string hashing is fast", 2014), twice with independent
    random multipliers: h = sum over bytes i of r[i] * (byte[i] + 1) modulo 2**64. Two different events meet with a
    probability of at most 2**-112: 2**-56 a lane, as the difference of two bytes can hold up to eight factors of two.

    Returns:
      uint64 [n, 2].
    """
    hashes = np.zeros((events.num_rows, LANES), dtype=np.uint64)
    for number, column in enumerate(events.columns):
        values, ends = _bytes(column)
        starts = np.concatenate([[0], ends])[:-1]
        position = np.arange(len(values)) - np.repeat(starts, ends - starts)
        terms = values.astype(np.uint64) + np.uint64(1)
        longest = int((ends - starts).max(initial=0))
        missing = column.is_null().to_numpy(zero_copy_only=False) if column.null_count else None
        for lane in range(LANES):
            multipliers = _multipliers(number, lane, longest.bit_length())
            sums = np.concatenate(
                [np.zeros(1, np.uint64), np.cumsum(terms * multipliers[1 + position], dtype=np.uint64)]
            )
            hashes[:, lane] += sums[ends] - sums[starts]
            if missing is not None:
                hashes[missing, lane] += multipliers[0]
    return hashes


@lru_cache(maxsize=256)
def _multipliers(column: int, lane: int, bits: int) -> np.ndarray:
    # A longer table starts with the shorter one: which table a batch takes does not change its hashes.
    return np.random.PCG64([column, lane]).random_raw(1 + (1 << bits))


def _bytes(column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """All bytes of a column one after the other, uint8 [total], and where each value's end, int64 [n]."""
    if pa.types.is_fixed_size_binary(column.type) or not (
        pa.types.is_string(column.type) or pa.types.is_binary(column.type)
    ):
        values = np.ascontiguousarray(column.to_numpy(zero_copy_only=False))
        width = values.dtype.itemsize
        return values.view(np.uint8), np.arange(1, len(values) + 1, dtype=np.int64) * width
    # Nulls may cover bytes: only a copy is sure to be tight.
    column = pa.concat_arrays([column.fill_null(b"" if pa.types.is_binary(column.type) else "")])
    _, offsets, data = column.buffers()
    ends = np.frombuffer(offsets, np.int32)[column.offset : column.offset + len(column) + 1].astype(np.int64)
    values = np.frombuffer(data, np.uint8)[ends[0] : ends[-1]] if data is not None else np.zeros(0, np.uint8)
    return values, ends[1:] - ends[0]
