"""The heart of the transform: one key's events in order, and what is cut from them.

A key's events are of four phases: *trained* (yesterday's history), *released* (held out yesterday, trained on today),
*train* (today's train part) and *held out* (today's eval part). They stand in the order of their times, whatever day
brought them, but for those held out, which are last; of one time in the order of the phases. New positions are those of
the second and third phase: a run of them behind the trained ones, or several runs between, where a day brought events
from before what was trained on. All keys of a shard lie behind one another in flat arrays, and every result is a set of
slices of them.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from components.span_transform import history as history_lib
from trainer.features.query_values import PREFIX

Integers = npt.NDArray[np.int64]

TRAINED, RELEASED, TRAIN, HELD_OUT = range(4)


@dataclasses.dataclass(frozen=True)
class Timelines:
    """The events of the keys that something happened to.

    Attributes:
      keys: `[k]` binary.
      starts: `[k + 1]`, where each key's events start in the flat arrays.
      phases: `[n]` int64, the phase of each event.
      items: `[n]` dictionary of binary, the items of all keys, each key's in order.
      timestamps: `[n]` int64.
      weights: `[n]` float32.
      query_features: of key and context at each event, `[n]` each; null at those that were trained on before.
    """

    keys: pa.Array
    starts: Integers
    phases: Integers
    items: pa.DictionaryArray
    timestamps: pa.Array
    weights: pa.Array
    query_features: dict[str, pa.Array] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Cuts:
    """Slices of the flat arrays.

    Attributes:
      key: `[m]`, the index of each slice's key.
      begin, end: `[m]`, in the flat arrays.
      first_new, first_today: `[m]`, counted from `begin`.
    """

    key: Integers
    begin: Integers
    end: Integers
    first_new: Integers
    first_today: Integers

    def take(self, index: npt.NDArray[np.generic]) -> Cuts:
        """The slices at `index`."""
        return Cuts(*(getattr(self, field.name)[index] for field in dataclasses.fields(self)))


def join(history: pa.Table, train: pa.Table, held_out: pa.Table) -> tuple[Timelines, pa.Table]:
    """Joins yesterday's history with today's events, both of one shard.

    Args:
      history: A row a key (`history.SCHEMA`).
      train: The events of today's train part (`events.SCHEMA`), in file order.
      held_out: The events of today's eval part, likewise.

    Returns:
      The timelines of all keys with an event today or a held-out one of yesterday, and the history of the others.
    """
    train, held_out = _by_time(train), _by_time(held_out)
    today = pa.chunked_array([*train["key"].chunks, *held_out["key"].chunks], pa.binary())
    touched = pc.or_(pc.greater(history["held_out"], 0), pc.is_in(history["key"], value_set=pc.unique(today)))
    untouched, old = history.filter(pc.invert(touched)), history.filter(touched).combine_chunks()

    encoded = _one(pa.chunked_array([*old["key"].chunks, *today.chunks], pa.binary())).dictionary_encode()
    keys, codes = encoded.dictionary, encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    of_old, of_train, of_held = np.split(codes, [len(old), len(old) + len(train)])

    kept = history_lib.lengths(old["items"])
    position = np.arange(kept.sum()) - np.repeat(np.cumsum(kept) - kept, kept)
    trained = np.repeat(kept - old["held_out"].to_numpy(), kept)
    group = np.concatenate(
        [
            np.repeat(of_old, kept) * 4 + np.where(position < trained, TRAINED, RELEASED),
            of_train * 4 + TRAIN,
            of_held * 4 + HELD_OUT,
        ]
    )
    phases = group % 4

    def flat(kept_name: str, name: str) -> pa.Array:
        chunks = [*pc.list_flatten(old[kept_name]).chunks, *train[name].chunks, *held_out[name].chunks]
        return _one(pa.chunked_array(chunks, train.schema.field(name).type))

    timestamps = flat("timestamps", "timestamp")
    # The sort is stable: within a phase events stand in their order already.
    in_order = np.lexsort([phases, timestamps.to_numpy(), phases == HELD_OUT, group // 4])
    order = pa.array(in_order)
    timelines = Timelines(
        keys=keys,
        starts=_offsets(np.bincount(group // 4, minlength=len(keys))),
        phases=phases[in_order],
        items=flat("items", "item").dictionary_encode().take(order),
        timestamps=timestamps.take(order),
        weights=flat("weights", "weight").take(order),
        query_features={name: flat(name, name).take(order) for name in train.schema.names if name.startswith(PREFIX)},
    )
    return timelines, untouched


def cut_sequences(timelines: Timelines, length: int) -> Cuts:
    """One slice a run of new events, of at most `length` events; several where they would leave no room for a past.

    A slice of a key that has events before it starts with one of them at least, so that no new event but a key's very
    first goes without a past, from a `length` of 2 on. Of several, the first starts with up to half of `length` events
    of context where there are as many, and each further one with half.
    """
    runs = _runs_of_new(timelines)
    old = runs.begin - timelines.starts[runs.key]
    new = runs.end - runs.begin
    context = length // 2
    # As many new events as a slice holds would leave what came before them out: then two slices have both.
    fits = new + np.minimum(old, min(1, context)) <= length
    first = np.where(fits, new, length - np.minimum(old, context))
    step = length - context
    pieces = 1 - (first - new) // step

    run = np.repeat(np.arange(len(new)), pieces)
    number = np.arange(len(run)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    new_begin = runs.begin[run] + np.where(number > 0, first[run] + (number - 1) * step, 0)
    new_end = np.minimum(runs.end[run], runs.begin[run] + first[run] + number * step)
    begin = np.maximum(timelines.starts[runs.key[run]], new_end - length)
    return Cuts(
        key=runs.key[run],
        begin=begin,
        end=new_end,
        first_new=new_begin - begin,
        first_today=np.clip(runs.today[run], new_begin, new_end) - begin,
    )


@dataclasses.dataclass(frozen=True)
class _Runs:
    """New events without another between: their key, `[begin, end)` and the first of today, in the flat arrays."""

    key: Integers
    begin: Integers
    end: Integers
    today: Integers


def _runs_of_new(timelines: Timelines) -> _Runs:
    new = np.isin(timelines.phases, (RELEASED, TRAIN))
    of_key = _keys_of_events(timelines)
    follows = np.concatenate([[False], new[:-1] & new[1:] & (of_key[:-1] == of_key[1:])])[: len(new)]
    begin = np.flatnonzero(new & ~follows)
    end = begin + np.diff(np.concatenate([np.flatnonzero(~follows[new]), [new.sum()]]))
    today = np.concatenate([np.flatnonzero(timelines.phases == TRAIN), [len(new)]])
    return _Runs(of_key[begin], begin, end, today[np.searchsorted(today, begin)])


def cut_held_out(timelines: Timelines, length: int) -> Cuts:
    """One slice a held-out event: the up to `length` events before it. The event itself stands at `end`."""
    end = np.flatnonzero(timelines.phases == HELD_OUT)
    key = _keys_of_events(timelines)[end]
    begin = np.maximum(timelines.starts[key], end - length)
    return Cuts(key=key, begin=begin, end=end, first_new=end - begin, first_today=end - begin)


def cut_history(timelines: Timelines, length: int) -> pa.Table:
    """The keys' new history: the last `length` events that are trained on, and all that are held out."""
    held = np.bincount(_keys_of_events(timelines)[timelines.phases == HELD_OUT], minlength=len(timelines.keys))
    end = timelines.starts[1:]
    begin = np.maximum(timelines.starts[:-1], end - held - length)
    offsets = pa.array(_offsets(end - begin).astype(np.int32))
    taken = pa.array(spread(begin, end))
    # What was known at an event is asked for once more where it is still to be trained on.
    later = pa.array(timelines.phases == HELD_OUT).take(taken)
    columns = {
        "items": timelines.items.take(taken).dictionary_decode(),
        "timestamps": timelines.timestamps.take(taken),
        "weights": timelines.weights.take(taken),
        **{
            name: pc.if_else(later, values.take(taken), pa.scalar(None, values.type))
            for name, values in timelines.query_features.items()
        },
    }
    schema = pa.schema([history_lib.list_field(name, values.type) for name, values in columns.items()])
    lists = [
        pa.ListArray.from_arrays(offsets, values).cast(field.type)
        for values, field in zip(columns.values(), schema, strict=True)
    ]
    schema = pa.schema([history_lib.SCHEMA.field("key"), *schema, history_lib.SCHEMA.field("held_out")])
    return pa.Table.from_arrays([timelines.keys, *lists, pa.array(held)], schema=schema)


def spread(begin: Integers, end: Integers) -> Integers:
    """All indices of the slices `[begin, end)`, one slice after the other."""
    sizes = end - begin
    return np.arange(sizes.sum()) + np.repeat(begin - (np.cumsum(sizes) - sizes), sizes)


def _keys_of_events(timelines: Timelines) -> Integers:
    """`[n]`, the index of each event's key."""
    return np.repeat(np.arange(len(timelines.keys)), np.diff(timelines.starts))


def _by_time(events: pa.Table) -> pa.Table:
    return events.take(pa.array(np.argsort(events["timestamp"].to_numpy(), kind="stable")))


def _offsets(sizes: Integers) -> Integers:
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


def _one(array: pa.ChunkedArray) -> pa.Array:
    chunks = array.chunks
    return chunks[0] if len(chunks) == 1 else pa.concat_arrays(chunks) if chunks else pa.array([], array.type)
