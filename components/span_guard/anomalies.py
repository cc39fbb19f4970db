"""What ExampleValidator has found, and what of it holds a span."""

from __future__ import annotations

from pathlib import Path

from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx.types import artifact

_FILE = "SchemaDiff.pb"
# Values of another type can't be what they were. What is new, missing in part or out of a domain informs: the report
# has it, and a day of another kind shows in the figures.
_HOLDS = frozenset({anomalies_pb2.AnomalyInfo.UNEXPECTED_DATA_TYPE})


def held_by(anomalies: artifact.Artifact) -> list[str]:
    """A sentence for each anomaly that holds the span."""
    sentences = []
    for path in sorted(Path(anomalies.uri).glob(f"Split-*/{_FILE}")):
        for column, info in sorted(_read(path).anomaly_info.items()):
            if any(reason.type in _HOLDS for reason in info.reason):
                sentences.append(f"column {column} is not what the schema says: {info.description}".rstrip("."))
    return list(dict.fromkeys(sentences))


def _read(path: Path) -> anomalies_pb2.Anomalies:
    anomalies = anomalies_pb2.Anomalies()
    anomalies.ParseFromString(path.read_bytes())
    return anomalies
