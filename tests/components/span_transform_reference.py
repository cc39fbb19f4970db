"""The transform's semantics once more, an event at a time and as plainly as can be, to hold the fast one against."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from typing import NamedTuple

from components.span_transform import Settings
from trainer.ids import hash_buckets


class Event(NamedTuple):
    key: bytes
    item: bytes
    timestamp: int
    weight: float


class Sequence(NamedTuple):
    key: bytes
    key_row: int
    items: tuple[int, ...]
    timestamps: tuple[int, ...]
    weights: tuple[float, ...]
    first_new: int
    first_today: int


class HeldOut(NamedTuple):
    key: bytes
    key_row: int
    history: tuple[int, ...]
    item: bytes
    item_row: int
    timestamp: int
    weight: float
    label: float
    item_slice: bytes
    key_slice: bytes


@dataclasses.dataclass
class Ids:
    """One vocabulary: rows in order of admission, counts of all ids."""

    oov_rows: int
    min_count: int
    counts: Counter[bytes] = dataclasses.field(default_factory=Counter)
    admitted: list[bytes] = dataclasses.field(default_factory=list)

    def learn(self, ids: list[bytes]) -> None:
        self.counts.update(ids)
        for id_ in ids:
            if self.counts[id_] >= self.min_count and id_ not in self.admitted:
                self.admitted.append(id_)

    def row(self, id_: bytes) -> int:
        if id_ in self.admitted:
            return 1 + self.oov_rows + self.admitted.index(id_)
        return 1 + int(hash_buckets([id_], self.oov_rows)[0])


class Reference:
    """Remembers everything; `day` returns what `sequences` and `held_out` must hold, in any order."""

    def __init__(self, settings: Settings):
        self.settings = settings
        self.items = Ids(settings.oov_rows, settings.item_min_count)
        self.keys = Ids(settings.oov_rows, settings.key_min_count)
        self.trained: dict[bytes, list[Event]] = {}
        self.waiting: dict[bytes, list[Event]] = {}

    def day(self, train: list[Event], held_out: list[Event]) -> tuple[list[Sequence], list[HeldOut]]:
        train, held_out = (sorted(events, key=lambda event: event.timestamp) for events in (train, held_out))
        known = {event for kept in (self.trained, self.waiting) for events in kept.values() for event in events}
        train, held_out = ([event for event in events if event not in known] for events in (train, held_out))
        before = self.items.counts.copy(), self.keys.counts.copy()
        released = [
            (event.timestamp, int(hash_buckets([key], 2**62)[0]), place, event)
            for key, events in self.waiting.items()
            for place, event in enumerate(events)
        ]
        new = [event for *_, event in sorted(released)] + train
        self.items.learn([event.item for event in new])
        self.keys.learn([event.key for event in new])

        sequences, positions = [], []
        for key in {event.key for event in new}:
            yesterday = self.waiting.pop(key, [])
            today = [event for event in train if event.key == key]
            sequences += self._sequences(key, yesterday, today)
            # What is older than the model sees is forgotten.
            merged = [event for _, event in self._in_order(key, yesterday, today)]
            self.trained[key] = merged[-self.settings.length :]
        for event in held_out:
            earlier = self.trained.get(event.key, []) + self.waiting.get(event.key, [])
            positions.append(self._held_out(event, earlier, *before))
            self.waiting.setdefault(event.key, []).append(event)
        return sequences, positions

    def _in_order(self, key: bytes, yesterday: list[Event], today: list[Event]) -> list[tuple[int, Event]]:
        """Phase and event: trained, released, of today; by time, of one time in this order."""
        phases = (self.trained.get(key, []), yesterday, today)
        every = [(phase, event) for phase, events in enumerate(phases) for event in events]
        return sorted(every, key=lambda entry: (entry[1].timestamp, entry[0]))

    def _sequences(self, key: bytes, yesterday: list[Event], today: list[Event]) -> list[Sequence]:
        sequences, past = [], []
        for is_new, run in itertools.groupby(self._in_order(key, yesterday, today), lambda entry: entry[0] > 0):
            entries = list(run)
            if is_new:
                sequences += self._of_run(key, past, entries)
            past = past + [event for _, event in entries]
        return sequences

    def _of_run(self, key: bytes, past: list[Event], entries: list[tuple[int, Event]]) -> list[Sequence]:
        length, new = self.settings.length, [event for _, event in entries]
        before_today = next((place for place, (phase, _) in enumerate(entries) if phase == 2), len(new))
        sequences, done = [], 0
        while done < len(new):
            earlier = past + new[:done]
            room = length - min(len(earlier), min(1, length // 2))
            fits = room if len(new) <= room else length - min(len(earlier), length // 2)
            part = new[done : done + fits]
            room = length - len(part)
            events = (earlier[-room:] if room else []) + part
            first_new = len(events) - len(part)
            first_today = first_new + max(0, min(before_today - done, len(part)))
            sequences.append(
                Sequence(
                    key,
                    self.keys.row(key),
                    tuple(self.items.row(event.item) for event in events),
                    tuple(event.timestamp for event in events),
                    tuple(event.weight for event in events),
                    first_new,
                    first_today,
                )
            )
            done += len(part)
        return sequences

    def _held_out(self, event: Event, earlier: list[Event], items: Counter[bytes], keys: Counter[bytes]) -> HeldOut:
        def slice_of(count: int) -> bytes:
            return b"new" if count == 0 else b"cold" if count < self.settings.cold_below else b"warm"

        return HeldOut(
            event.key,
            self.keys.row(event.key),
            tuple(self.items.row(past.item) for past in earlier[-self.settings.length :]),
            event.item,
            self.items.row(event.item),
            event.timestamp,
            event.weight,
            1.0,
            slice_of(items[event.item]),
            slice_of(keys[event.key]),
        )
