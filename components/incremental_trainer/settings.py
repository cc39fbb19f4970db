"""What the trainer is told, as one JSON text so that it is an execution parameter of its own in MLMD."""

from __future__ import annotations

import dataclasses
from typing import Literal

from components.json_parameter import JsonParameter
from serving.bundle.index_settings import IndexSettings
from trainer.settings import ModelSpec, Policy


@dataclasses.dataclass(frozen=True)
class PlacesForNew:
    """So many `places` are kept for new items.

    New is an item that first appeared in the catalogue in one of the last `younger_than` spans, or one with
    `fewer_events_than` so many; where both are set, one of which both are true.
    """

    places: int
    younger_than: int | None = None
    fewer_events_than: int | None = None


@dataclasses.dataclass(frozen=True)
class SharedTraining:
    """Replicas share the steps, by `strategy`: the devices of this machine, or workers that see `folder`.

    A training of the latter is resumed at most `restarts` times after it has lost a worker.
    """

    strategy: Literal["mirrored", "multi_worker"]
    restarts: int
    folder: str


@dataclasses.dataclass(frozen=True)
class Settings(JsonParameter):
    """Model, update and export settings.

    Attributes:
      model, policy: see `trainer.update`.
      k: cut-off of the gate's ranking metrics.
      max_k: most items that one request can get.
      exclude_seen: whether items of the history are left out, in the gate and in service.
      items_file: CSV file with what is known of the items, or None.
      item_column, title_column: its columns.
      columns: those that come along with a recommended item; None for the titles.
      available_column: the one that says which items may be recommended; None where all may.
      index: how items are found, and in how many bits they are kept.
      log_folder: where TensorBoard's training curves go, or None.
      key_features: how many of `model.query_features`, the first of them, are of the key; the others are of the
        context.
      decimal_ids: as of events (see `components.span_example_gen.ids`), for features that are ids.
      hide_unlisted: whether items that the catalogue has never named are not served; None without a catalogue.
      half_life_spans: of the vocabulary's counts; None without a catalogue.
      places_for_new: places of a list that are kept for new items; None for none.
      teacher: the model of who teaches by `policy.teacher`; None without one.
      training: who shares the steps; None where this process makes them alone.
    """

    model: ModelSpec
    policy: Policy
    k: int
    max_k: int
    exclude_seen: bool
    items_file: str | None
    item_column: str
    title_column: str
    columns: tuple[str, ...] | None
    available_column: str | None
    index: IndexSettings
    log_folder: str | None
    hide_unlisted: bool | None = None
    key_features: int | None = None
    decimal_ids: str | None = None
    half_life_spans: float | None = None
    places_for_new: PlacesForNew | None = None
    teacher: ModelSpec | None = None
    training: SharedTraining | None = None
