"""What TFX's StatisticsGen and ExampleValidator found in a span, beside the span before."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from tensorflow_metadata.proto.v0 import anomalies_pb2, statistics_pb2

_SPLITS = ("train", "eval")
_TIME = "timestamp"  # of which no figure says anything that the span does not
_Features = Mapping[str, statistics_pb2.FeatureNameStatistics]


@dataclasses.dataclass(frozen=True)
class Figure:
    """One figure of one column, on the span and on the one before it; None where it is not known."""

    column: str
    name: str
    today: float | str | None
    before: float | str | None


@dataclasses.dataclass(frozen=True)
class Anomaly:
    """What ExampleValidator holds against a column of a split."""

    split: str
    column: str
    text: str


def read_figures(today: Path | None, before: Path | None) -> tuple[Figure, ...]:
    """Figures of each column's train split: what is missing, how many values differ, the mean, the commonest."""
    new, old = _features(today), _features(before)
    figures = []
    for column in sorted({*new} - {_TIME}):
        own, other = _figures(new[column]), _figures(old[column]) if column in old else {}
        figures += [Figure(column, name, value, other.get(name)) for name, value in own.items()]
    return tuple(figures)


def read_anomalies(folder: Path | None) -> tuple[Anomaly, ...]:
    """What does not fit the schema, by column; nothing where all does."""
    anomalies = []
    for split in _SPLITS:
        path = None if folder is None else folder / f"Split-{split}" / "SchemaDiff.pb"
        if path is None or not path.exists():
            continue
        for column, info in sorted(anomalies_pb2.Anomalies.FromString(path.read_bytes()).anomaly_info.items()):
            anomalies.append(Anomaly(split, column, info.description or info.short_description))
    return tuple(anomalies)


def _features(folder: Path | None) -> _Features:
    path = None if folder is None else folder / "Split-train" / "FeatureStats.pb"
    if path is None or not path.exists():
        return {}
    statistics = statistics_pb2.DatasetFeatureStatisticsList.FromString(path.read_bytes())
    return {
        feature.path.step[-1] if feature.path.step else feature.name: feature
        for data in statistics.datasets
        for feature in data.features
    }


def _figures(feature: statistics_pb2.FeatureNameStatistics) -> dict[str, float | str | None]:
    if feature.HasField("string_stats"):
        strings = feature.string_stats
        top = strings.top_values[0] if strings.top_values else None
        common = strings.common_stats
        count = common.num_non_missing
        return {
            "missing": _missing(common),
            "different values": float(strings.unique),
            "commonest value": None if top is None else top.value,
            "share of the commonest": None if top is None or not count else top.frequency / count,
        }
    numbers = feature.num_stats
    return {"missing": _missing(numbers.common_stats), "mean": numbers.mean, "deviation": numbers.std_dev}


def _missing(common: statistics_pb2.CommonStatistics) -> float:
    total = common.num_missing + common.num_non_missing
    return common.num_missing / total if total else 0.0
