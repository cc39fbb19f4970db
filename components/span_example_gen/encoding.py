"""tf.Examples from Arrow columns, written as bytes.

tfx_bsl's RecordBatchToExamplesEncoder is as fast, but leaves the order of features in an Example to chance: the same
events would give other bytes in every run. Here they stand in the order of their names, as in protobuf's own
deterministic form.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.span_example_gen.readers.raw_batch import Kind

# Tags of the protocol (tensorflow/core/example/feature.proto): field number * 8 + wire type 2, "bytes with a length".
_FIELD_1, _FIELD_2 = b"\x0a", b"\x12"
_LIST_TAGS = {"bytes": b"\x0a", "float": b"\x12", "int": b"\x1a"}
_NOTHING = pa.scalar(b"", pa.large_binary())


def encode_examples(events: pa.RecordBatch, kinds: Mapping[str, Kind]) -> list[bytes]:
    """Encodes rows as serialised tf.Examples.

    Args:
      events: one value a row; columns of kind `bytes` binary or string, of kind `int` and `float` castable to int64 and
        float32.
      kinds: what each column becomes. A missing value, or a column of kind None, is left out of the Example.
    """
    parts = []
    for name in sorted(events.schema.names):
        kind = kinds[name]
        if kind is not None:
            payload = _PAYLOADS[kind](events.column(events.schema.get_field_index(name)))
            parts += [_per_length(pc.binary_length(payload), _feature_head(name.encode("utf-8"), kind)), payload]
    features = pc.binary_join_element_wise(*parts, _NOTHING, null_handling="replace", null_replacement=b"")
    head = _per_length(pc.binary_length(features), lambda length: _FIELD_1 + _varint(length))
    return pc.binary_join_element_wise(head, features, _NOTHING).to_pylist()


def _feature_head(name: bytes, kind: str) -> Callable[[int], bytes]:
    """All that stands before a value's bytes: map entry, name, Feature, list; their lengths follow from the value's."""

    def head(length: int) -> bytes:
        value = _FIELD_1 + _varint(length)
        feature = _LIST_TAGS[kind] + _varint(len(value) + length) + value
        key = _FIELD_1 + _varint(len(name)) + name
        entry = key + _FIELD_2 + _varint(len(feature) + length) + feature
        return _FIELD_1 + _varint(len(entry) + length) + entry

    return head


def _per_length(lengths: pa.Array, make: Callable[[int], bytes]) -> pa.Array:
    encoded = pc.dictionary_encode(lengths)
    heads = pa.array([make(length) for length in encoded.dictionary.to_pylist()], pa.large_binary())
    return heads.take(encoded.indices)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def _bytes_payload(column: pa.Array) -> pa.Array:
    return column.cast(pa.binary()).cast(pa.large_binary())


def _float_payload(column: pa.Array) -> pa.Array:
    numbers = _numbers(column, pa.float32())
    values = numbers.fill_null(0).to_numpy(zero_copy_only=False).astype("<f4")
    return _binary(values.view(np.uint8), np.full(len(values), 4), numbers)


def _int_payload(column: pa.Array) -> pa.Array:
    numbers = _numbers(column, pa.int64())
    values = numbers.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64).view(np.uint64)
    shifted = values[:, None] >> (np.arange(10, dtype=np.uint64) * np.uint64(7))
    lengths = np.maximum((shifted != 0).sum(axis=1), 1)
    place = np.arange(10)
    more = np.where(place < lengths[:, None] - 1, 128, 0)
    groups = ((shifted & np.uint64(127)).astype(np.uint8)) | more.astype(np.uint8)
    return _binary(groups[place < lengths[:, None]], lengths, numbers)


def _numbers(column: pa.Array, kind: pa.DataType) -> pa.Array:
    if pa.types.is_binary(column.type):
        column = column.cast(pa.string())
    return column.cast(kind)


def _binary(data: np.ndarray, lengths: np.ndarray, like: pa.Array) -> pa.Array:
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(data))]
    array = pa.Array.from_buffers(pa.large_binary(), len(lengths), buffers)
    return pc.if_else(like.is_valid(), array, pa.scalar(None, pa.large_binary())) if like.null_count else array


_PAYLOADS: dict[str, Callable[[pa.Array], pa.Array]] = {
    "bytes": _bytes_payload,
    "float": _float_payload,
    "int": _int_payload,
}
