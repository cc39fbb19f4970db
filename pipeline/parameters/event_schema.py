"""The schema of event Examples: known from the settings, not guessed from a day's data."""

from __future__ import annotations

from pathlib import Path

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from pipeline.config import Config
from trainer.atomic_write import atomic_write
from trainer.features.declaration import OF_NUMBERS

_TYPES = {"key": schema_pb2.BYTES, "item": schema_pb2.BYTES, "timestamp": schema_pb2.INT, "weight": schema_pb2.FLOAT}


def write_schema(config: Config) -> Path:
    """Writes `schema/schema.pbtxt` under the root, if it is not there as it should be; returns its path.

    Every event has exactly one of each part, and at most one value of each feature of key and context. Context columns
    are known, and what they hold is left to the day: whole numbers on one may be fractions on the next.
    """
    schema = schema_pb2.Schema()
    for name, type_ in _TYPES.items():
        feature = schema.feature.add(name=name, type=type_)
        feature.presence.min_fraction = 1.0
        feature.shape.dim.add(size=1)
    for name in config.data.columns.context:
        schema.feature.add(name=name, lifecycle_stage=schema_pb2.DEBUG_ONLY)  # which no anomaly is reported of
    for declared in config.features.of_query:
        kind = schema_pb2.FLOAT if declared.kind in OF_NUMBERS else schema_pb2.BYTES
        schema.feature.add(name=declared.vocabulary, type=kind).value_count.max = 1
    text = text_format.MessageToString(schema)
    path = config.root / "schema" / "schema.pbtxt"
    if not path.exists() or path.read_text() != text:
        with atomic_write(path) as beside:
            beside.write_text(text)
    return path
