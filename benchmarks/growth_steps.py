"""One step of a day over tables of any size, in a process of its own, for `benchmarks.growth`.

    python - STEP ROOT ROWS < benchmarks/growth_steps.py

Read from standard input, in the folder of the packages to be measured: one run can hold two versions side by side.
It prints a line of JSON: what it did, by name, with `seconds` and `peak`, the most memory in bytes meanwhile.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from components import artifacts
from components.span_transform import history as history_lib
from components.span_transform.events import key_hashes
from pipeline.config import Config
from pipeline.parameters.comparison_rules import comparison_rules
from pipeline.parameters.eval_config import eval_config
from pipeline.parameters.graph_parameters import LOCAL_BEAM, GraphParameters
from trainer.vocabulary import Vocabulary

EVENTS = 22_000  # a day
_HELD_OUT = 2_000  # of them
_KEPT = 2  # events of each key in the history
_DAY = 86_400_000  # milliseconds
FOLDERS = ("events", "sequences", "held_out", "vocabulary", "history", "model", "memory", "decision")
_FIRST, _COLD, _WARM = 1, 2, 3  # the spans: what there was, a model from nothing, the day that is measured

CONFIG = Config.model_validate(
    {
        "name": "growth",
        "data": {"path": "events", "columns": {"key": "user", "item": "item", "timestamp": "time"}},
        "update": {"epochs": 1, "cold_epochs": 1},
    }
)
GIVEN = GraphParameters.of(CONFIG)


@dataclasses.dataclass
class Meter:
    """Seconds and peak memory of what is done in this process, by name."""

    measured: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)

    @contextlib.contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        started = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - started
            before = self.measured.get(name, {"seconds": 0.0, "peak": 0.0})
            self.measured[name] = {
                "seconds": before["seconds"] + seconds,
                "peak": max(before["peak"], _peak()),
            }

    def wrapped(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def with_meter(*positional: Any, **named: Any) -> Any:
            with self(name):
                return function(*positional, **named)

        return with_meter


def _peak() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) * 1024


def made(root: Path, kind: type, name: str, span: int, **properties: int) -> Any:
    """The artifact in ROOT/name/span, its folder made."""
    created = kind()
    created.uri = str(root / name / str(span))
    Path(created.uri).mkdir(parents=True, exist_ok=True)
    for about, value in {"span": span, **properties}.items():
        created.set_int_custom_property(about, value)
    return created


def _kinds() -> dict[str, type]:
    from tfx.types import standard_artifacts

    examples = standard_artifacts.Examples
    return {
        "sequences": examples,
        "held_out": examples,
        "vocabulary": artifacts.Vocabulary,
        "history": artifacts.KeyHistory,
    }


def before(root: Path, rows: int) -> None:
    """The state of a shop with `rows` items and `rows` keys, without any model yet."""
    vocabulary, history = root / "vocabulary" / str(_FIRST), root / "history" / str(_FIRST)
    for folder in (vocabulary, history):
        folder.mkdir(parents=True)
    random = np.random.default_rng(1)
    spans = np.full(rows, _FIRST, np.int64)
    for name in ("items", "keys"):
        counts = random.zipf(1.3, rows).clip(1, 1000).astype(np.int64)
        empty = Vocabulary.empty(CONFIG.vocabulary.oov_rows)
        full = dataclasses.replace(
            empty, span=_FIRST, ids=_ids(name, np.arange(rows)), counts=counts, recent=counts.astype(np.float64),
            first_span=spans, last_span=spans,
        )  # fmt: skip
        full.save(vocabulary, name)
    keys = _ids("keys", np.arange(rows))
    shards = 1
    while shards * GIVEN.transform.rows_per_shard < rows * _KEPT + EVENTS:
        shards *= 2
    place = key_hashes(pa.chunked_array([keys])) % shards
    for shard in range(shards):
        own = keys.take(pa.array(np.flatnonzero(place == shard)))
        count = len(own)
        offsets = pa.array(np.arange(count + 1, dtype=np.int32) * _KEPT)
        items = _ids("items", random.integers(0, rows, count * _KEPT))
        times = np.sort(random.integers(0, _DAY, (count, _KEPT)), axis=1).ravel() + _FIRST * _DAY
        weights = np.ones(count * _KEPT, np.float32)
        columns = [pa.ListArray.from_arrays(offsets, values) for values in (items, pa.array(times), pa.array(weights))]
        table = pa.Table.from_arrays(
            [own, *(column.cast(history_lib.SCHEMA.field(1 + at).type) for at, column in enumerate(columns)),
             pa.array(np.zeros(count, np.int64))], schema=history_lib.SCHEMA,
        )  # fmt: skip
        until = int(times.max()) if count else _FIRST * _DAY
        counts = history_lib.Counts(span=_FIRST, keys=count, events=count * _KEPT, until=until)
        history_lib.write_shard(history / history_lib.shard_name(shard, shards), [table], counts)


def _ids(name: str, rows: np.ndarray) -> pa.Array:
    return pa.array(np.char.add(f"{name[:-1]}-", np.char.zfill(rows.astype(str), 8)).astype("S"), pa.binary())


def write_events(root: Path, rows: int, span: int) -> Any:
    """A day of events of the shop's items and keys; one in twenty of what is new. As SpanExampleGen leaves them."""
    import tensorflow as tf
    from tfx.types import artifact_utils, standard_artifacts

    events = made(root, standard_artifacts.Examples, "events", span, events=EVENTS)
    events.split_names = artifact_utils.encode_split_names(["train", "eval"])
    random = np.random.default_rng(span)
    new = rows + span * EVENTS + random.integers(0, 500, EVENTS)
    picked = (rows * random.random(EVENTS) ** 3).astype(np.int64)
    items = _ids("items", np.where(random.random(EVENTS) < 0.05, new, picked))
    keys = _ids("keys", np.where(random.random(EVENTS) < 0.05, new, random.integers(0, rows, EVENTS)))
    times = np.sort(random.integers(0, _DAY, EVENTS)) + span * _DAY
    for split, (first, last) in {"train": (0, EVENTS - _HELD_OUT), "eval": (EVENTS - _HELD_OUT, EVENTS)}.items():
        folder = Path(events.uri) / f"Split-{split}"
        folder.mkdir(exist_ok=True)
        with tf.io.TFRecordWriter(str(folder / "data_tfrecord-00000-of-00001.gz"), "GZIP") as writer:
            for at in range(first, last):
                feature = {
                    "key": tf.train.Feature(bytes_list=tf.train.BytesList(value=[keys[at].as_py()])),
                    "item": tf.train.Feature(bytes_list=tf.train.BytesList(value=[items[at].as_py()])),
                    "timestamp": tf.train.Feature(int64_list=tf.train.Int64List(value=[times[at]])),
                    "weight": tf.train.Feature(float_list=tf.train.FloatList(value=[1.0])),
                }
                writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())
    return events


def transform(root: Path, rows: int, span: int, meter: Meter) -> None:
    from components.span_transform.executor import Executor

    outputs = {name: [made(root, kind, name, span)] for name, kind in _kinds().items()}
    yesterday = {
        f"yesterday_{name}": [made(root, _kinds()[name], name, span - 1)] for name in ("vocabulary", "history")
    }
    inputs = {"events": [write_events(root, rows, span)], **yesterday}
    with meter("transform"):
        Executor().Do(inputs, outputs, {"span": span, "settings": GIVEN.transform.to_json()})


def train(root: Path, span: int, meter: Meter) -> None:
    """Fine-tunes, or trains from nothing; what is not one of its three parts is reading and writing of the state."""
    from tfx.types import standard_artifacts

    from components.incremental_trainer import executor
    from components.update_decider.decision import Decision

    warm = span == _WARM
    for name, function in {"fine-tune": "catch_up" if warm else "learn_at_once", "diagnostics": "measure"}.items():
        setattr(executor, function, meter.wrapped(name, getattr(executor, function)))
    executor.export = meter.wrapped("export", executor.export)  # type: ignore[attr-defined]
    inputs = _span(root, span)
    decision = made(root, artifacts.Decision, "decision", span)
    Decision("fine_tune" if warm else "cold_start", "A benchmark.", (span,)).write(decision.uri)
    inputs |= {"decision": [decision], "past_sequences": [], "past_held_out": [], "past_vocabularies": []}
    if warm:
        inputs["base_model"] = [_model(root, span - 1)]
        inputs["base_memory"] = [made(root, artifacts.ReplayMemory, "memory", span - 1)]
    outputs = {
        "model": [made(root, standard_artifacts.Model, "model", span)],
        "memory": [made(root, artifacts.ReplayMemory, "memory", span)],
    }
    settings = dataclasses.replace(GIVEN.trainer, log_folder=None)
    started = time.perf_counter()
    properties = {"span": span, "version": span * 100 + 1, "settings": settings.to_json()}
    executor.Executor(executor.Executor.Context()).Do(inputs, outputs, properties)
    parts = sum(part["seconds"] for part in meter.measured.values())
    meter.measured["state"] = {"seconds": time.perf_counter() - started - parts, "peak": _peak()}


def next_span(root: Path, meter: Meter) -> None:
    from components.next_span_evaluator.component import Executor

    output = made(root, artifacts.NextSpanEvaluation, "next_span", _WARM)
    inputs = {**_span(root, _WARM), "model": [_model(root, _COLD)]}
    properties = {"span": _WARM, "history_length": CONFIG.history.length, "cold_below": 5, "weighted": 0, "k": 20,
                  "exclude_seen": 1}  # fmt: skip
    with meter("next-span"):
        Executor(Executor.Context()).Do(inputs, {"evaluation": [output]}, properties)


def gate(root: Path, meter: Meter) -> None:
    from tfx.types import standard_artifacts
    from tfx.utils import proto_utils

    from components.gate.component import Executor as Gate
    from components.paired_comparison.component import Executor as Comparison

    compared = made(root, artifacts.PairedDifferences, "comparison", _WARM)
    held_out, candidate, champion = _span(root, _WARM)["held_out"], _model(root, _WARM), _model(root, _COLD)
    properties = {
        "span": _WARM, "history_length": CONFIG.history.length, "oov_rows": CONFIG.vocabulary.oov_rows, "weighted": 0,
        "rules": comparison_rules(CONFIG).to_json(),
    }  # fmt: skip
    with meter("comparison"):
        inputs = {"held_out": held_out, "model": [candidate], "champion": [champion]}
        Comparison(Comparison.Context()).Do(inputs, {"comparison": [compared]}, properties)
    evaluation = made(root, standard_artifacts.ModelEvaluation, "evaluation", _WARM)
    blessing = made(root, standard_artifacts.ModelBlessing, "blessing", _WARM)
    inputs = {"examples": held_out, "model": [candidate], "baseline_model": [champion], "comparison": [compared]}
    properties = {
        "eval_config": proto_utils.proto_to_json(eval_config(CONFIG, GIVEN.metrics, GIVEN.weighted)),
        "example_splits": '["verdict"]',
        "fairness_indicator_thresholds": "null",
    }
    context = Gate.Context(beam_pipeline_args=list(LOCAL_BEAM), tmp_dir=str(root / "tmp"), unique_id="1")
    with meter("gate"):
        Gate(context).Do(inputs, {"evaluation": [evaluation], "blessing": [blessing]}, properties)


def _span(root: Path, span: int) -> dict[str, list[Any]]:
    from tfx.types import artifact_utils

    outputs = {name: made(root, kind, name, span) for name, kind in _kinds().items() if name != "history"}
    outputs["sequences"].split_names = artifact_utils.encode_split_names(["train"])
    outputs["held_out"].split_names = artifact_utils.encode_split_names(["select", "verdict"])
    return {name: [artifact] for name, artifact in outputs.items()}


def _model(root: Path, span: int) -> Any:
    from tfx.types import standard_artifacts

    return made(root, standard_artifacts.Model, "model", span, version=span * 100 + 1)


def main() -> None:
    step, root, rows = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    meter = Meter()
    if step == "before":
        before(root, rows)
        transform(root, rows, _COLD, Meter())
        train(root, _COLD, Meter())
    elif step == "transform":
        transform(root, rows, _WARM, meter)
    elif step == "train":
        train(root, _WARM, meter)
    elif step == "next-span":
        next_span(root, meter)
    elif step == "gate":
        gate(root, meter)
    else:
        raise SystemExit(f"STEP must be before, transform, next-span, train or gate. Received: {step!r}.")
    print(json.dumps(meter.measured))


if __name__ == "__main__":
    main()
