"""Paired differences, an event each, as they are kept from night to night."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from trainer.atomic_write import atomic_write
from trainer.metric_aggregation import contributions

_GAIN, _COLUMN = "gain/", "slice/"


@dataclasses.dataclass(frozen=True)
class Differences:
    """What the candidate gains on another model, event by event.

    Attributes:
      gains: metric to float64 [n], above 0 where the candidate is better, in units of the metric.
      weights: float64 [n], how much each event counts.
      keys: int64 [n], the row of its key; below 0 a number of the night's alone, for a key without a row of its own.
        No id is kept.
      slices: column to bytes [n], the slice that each event is in.
    """

    gains: Mapping[str, np.ndarray]
    weights: np.ndarray
    keys: np.ndarray
    slices: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.weights)

    def take(self, index: np.ndarray) -> Differences:
        return Differences(
            {name: values[index] for name, values in self.gains.items()},
            self.weights[index],
            self.keys[index],
            {name: values[index] for name, values in self.slices.items()},
        )

    def save(self, path: str | Path) -> None:
        named = {
            "weights": self.weights,
            "keys": self.keys,
            **{_GAIN + name: values for name, values in self.gains.items()},
            **{_COLUMN + name: values.astype("S") for name, values in self.slices.items()},
        }
        with atomic_write(path) as beside, beside.open("wb") as file:
            np.savez_compressed(file, **named)

    @classmethod
    def load(cls, path: str | Path) -> Differences:
        with np.load(path, allow_pickle=False) as file:
            gains = {name.removeprefix(_GAIN): file[name] for name in file.files if name.startswith(_GAIN)}
            slices = {name.removeprefix(_COLUMN): file[name] for name in file.files if name.startswith(_COLUMN)}
            return cls(gains, file["weights"], file["keys"], slices)


def paired(
    candidate: Mapping[str, np.ndarray],
    other: Mapping[str, np.ndarray],
    weights: np.ndarray,
    keys: np.ndarray,
    slices: Mapping[str, np.ndarray],
    lower_is_better: Iterable[str],
) -> Differences:
    """The gains of what two models make of the same events, float64 [n] a metric.

    Their mean is the difference of the metrics, means or not (see `contributions`). A night on which a metric is not
    defined, such as the area under a curve without any positive label, says nothing: gains of 0.
    """
    gains = {}
    for name in sorted(set(candidate) & set(other)):
        own, of_other = (contributions(name, scores[name], weights) for scores in (candidate, other))
        gain = np.nan_to_num(own - of_other)
        gains[name] = -gain if name in lower_is_better else gain
    return Differences(gains, weights, keys, slices)


def pooled(nights: Sequence[Differences]) -> Differences:
    """All events of some nights, of the metrics that each of them has; without slices.

    A key that has a row of its own is one key in all nights.
    """
    names = set(nights[0].gains).intersection(*(night.gains for night in nights))
    keys, first = [], 0
    for night in nights:
        own = night.keys < 0
        keys.append(np.where(own, night.keys + first, night.keys))
        first = min([first, *keys[-1][own].tolist()])
    return Differences(
        {name: np.concatenate([night.gains[name] for night in nights]) for name in sorted(names)},
        np.concatenate([night.weights for night in nights]),
        np.concatenate(keys),
    )
