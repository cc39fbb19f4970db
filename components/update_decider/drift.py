"""How far a span's values are from those of the spans before, as TFDV's own drift comparators measure it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

from components.update_decider.policy import DriftRule, Measure

Statistics: TypeAlias = statistics_pb2.DatasetFeatureStatisticsList

_TYPES = {
    statistics_pb2.FeatureNameStatistics.INT: schema_pb2.INT,
    statistics_pb2.FeatureNameStatistics.FLOAT: schema_pb2.FLOAT,
    statistics_pb2.FeatureNameStatistics.STRING: schema_pb2.BYTES,
    statistics_pb2.FeatureNameStatistics.BYTES: schema_pb2.BYTES,
}
_MEASURES: dict[int, Measure] = {
    anomalies_pb2.DriftSkewInfo.Measurement.JENSEN_SHANNON_DIVERGENCE: "jensen_shannon",
    anomalies_pb2.DriftSkewInfo.Measurement.L_INFTY: "infinity_norm",
}


class DriftError(ValueError):
    """A column can't be compared as asked; the message says why."""


def distances(
    today: Statistics, before: Sequence[Statistics], rules: Sequence[DriftRule]
) -> tuple[tuple[str, Measure, float], ...]:
    """Of each rule the column, the measure, and the distance (0 to 1) to the nearest of the spans before.

    The nearest, not the last one: a Sunday is like the Sunday before, and a promotion ends. Left out is what can't be
    compared, for want of earlier spans or of values. Of text, TFDV compares the 1,000 most frequent values.

    Raises:
      DriftError: the largest difference of frequencies (`infinity_norm`) is asked for on a column of numbers.
    """
    distances_by_column = []
    for rule in rules:
        measured = [value for earlier in before if (value := _distance(today, earlier, rule)) is not None]
        if measured:
            distances_by_column.append((rule.column, rule.measure, min(measured)))
    return tuple(distances_by_column)


def _distance(today: Statistics, before: Statistics, rule: DriftRule) -> float | None:
    feature_today, feature_before = (_feature(statistics, rule.column) for statistics in (today, before))
    # A column that changed its type has nothing in common with what it was.
    if feature_today is None or feature_before is None:
        return None
    if _kind(feature_today) != _kind(feature_before):
        return 1.0
    if rule.measure == "infinity_norm" and _kind(feature_today) != schema_pb2.BYTES:
        raise DriftError(
            f"`policy.drift.columns.{rule.column}.measure` must be jensen_shannon for a column of numbers. Received: "
            "infinity_norm."
        )
    schema = schema_pb2.Schema()
    feature = schema.feature.add(name=rule.column, type=_kind(feature_today))
    # The comparator measures only where it has a threshold; the limits are held against the figure later.
    comparator = "jensen_shannon_divergence" if rule.measure == "jensen_shannon" else "infinity_norm"
    getattr(feature.drift_comparator, comparator).threshold = 1.0
    anomalies = tfdv.validate_statistics(today, schema, previous_statistics=before)
    measurements = [
        drift_measurement for info in anomalies.drift_skew_info for drift_measurement in info.drift_measurements
    ]
    return next(
        (
            min(measurement.value, 1.0)
            for measurement in measurements
            if _MEASURES.get(measurement.type) == rule.measure
        ),
        None,
    )


def _feature(statistics: Statistics, column: str) -> statistics_pb2.FeatureNameStatistics | None:
    """The column's statistics; None where it has no value in the whole span."""
    for dataset in statistics.datasets:
        for feature in dataset.features:
            if column in (feature.name, *feature.path.step):
                common = feature.string_stats if feature.HasField("string_stats") else feature.num_stats
                return feature if common.common_stats.num_non_missing else None
    return None


def _kind(feature: statistics_pb2.FeatureNameStatistics) -> int:
    return _TYPES[feature.type]
