"""Ids to rows, in the graph."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf


class _FromVariable(tf.lookup.KeyValueTensorInitializer):
    """Fills a table from a variable when the model is loaded, so that the ids are stored once and as they are."""

    def __init__(self, ids: tf.Variable, first_row: int) -> None:
        super().__init__(tf.constant([], tf.string), tf.constant([], tf.int64))
        self._ids, self._first_row = ids, first_row

    def initialize(self, table: tf.lookup.StaticHashTable) -> tf.Operation:
        # An import of nothing is refused: without any id it is row 0, which is what its '' stands for anyhow.
        size = int(self._ids.shape[0])
        part = slice(self._first_row, size) if size > self._first_row else slice(1)
        rows = tf.range(size, dtype=tf.int64)
        return tf.raw_ops.LookupTableImportV2(
            table_handle=table.resource_handle, keys=self._ids.read_value()[part], values=rows[part]
        )


class IdTable(tf.Module):
    """Looks ids up as `trainer.vocabulary` does outside the graph.

    Attributes:
      ids: string [rows], '' for the rows that no id has of its own.
    """

    def __init__(self, ids: Sequence[bytes], first_row: int) -> None:
        super().__init__()
        self.first_row = first_row
        self.ids = tf.Variable([*[b""] * first_row, *ids], trainable=False, dtype=tf.string)
        self.table = tf.lookup.StaticHashTable(_FromVariable(self.ids, first_row), default_value=-1)

    def rows(self, ids: tf.Tensor) -> tf.Tensor:
        """int64 rows of string ids of any shape; 0 for the empty string, which pads."""
        row = self.table.lookup(ids)
        unknown = tf.strings.to_hash_bucket_fast(ids, self.first_row - 1) + 1
        row = tf.where(row >= 0, row, unknown)
        return tf.where(tf.strings.length(ids) > 0, row, tf.zeros_like(row))
