"""The largest entries of each row of a sparse matrix."""

from __future__ import annotations

import numpy as np
import scipy.sparse


def top_of_rows(matrix: scipy.sparse.csr_array, key: np.ndarray, most: int) -> scipy.sparse.csr_array:
    """`matrix` with at most `most` entries in a row: those with the largest `key` [nnz], of which no two are alike."""
    count = np.diff(matrix.indptr)
    long = np.flatnonzero(count > most)
    if not len(long):
        return matrix
    kept = np.ones(matrix.nnz, bool)
    row = np.repeat(np.arange(matrix.shape[0]), count)
    concerned = np.flatnonzero(count[row] > most)
    order = concerned[np.lexsort((-key[concerned], row[concerned]))]
    length = count[long]
    place = np.arange(len(order)) - np.repeat(np.cumsum(length) - length, length)
    kept[order[place >= most]] = False
    return cut(matrix, kept)


def cut(matrix: scipy.sparse.csr_array, kept: np.ndarray) -> scipy.sparse.csr_array:
    """`matrix` without the entries of which `kept` [nnz] says no."""
    before = np.concatenate([[0], np.cumsum(kept)])
    parts = (matrix.data[kept], matrix.indices[kept], before[matrix.indptr])
    return scipy.sparse.csr_array(parts, shape=matrix.shape)
