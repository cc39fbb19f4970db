"""The transform as a Beam pipeline: Beam carries shards, the work inside one is vectorised."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.runners.portability import fn_api_runner
from tfx import types
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_beam_executor
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils

from components.artifacts import VERDICT_EVENTS
from components.span_transform import events as events_lib
from components.span_transform import history as history_lib
from components.span_transform import retirement, shard, vocabulary_growth
from components.span_transform.known_events import without_known
from components.span_transform.settings import Settings
from trainer.features.declaration import Feature
from trainer.held_out_parts import SELECT, VERDICT
from trainer.progress import report
from trainer.vocabulary import Vocabulary, read_header

TRAIN, EVAL = "train", "eval"
_COUNTED = "counted"


class Executor(base_beam_executor.BaseBeamExecutor):
    """Runs the transform of one span."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """See `SpanTransform`.

        Raises:
          ValueError: the state can't be continued by this span.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        span, settings = exec_properties["span"], Settings.from_json(exec_properties["settings"])
        events = artifact_utils.get_single_instance(input_dict["events"])
        outputs = {name: artifact_utils.get_single_instance(artifacts) for name, artifacts in output_dict.items()}
        folders = shard.Folders(
            **{name: artifact.uri for name, artifact in outputs.items()},
            yesterday_vocabulary=_uri(input_dict, "yesterday_vocabulary"),
            yesterday_history=_uri(input_dict, "yesterday_history"),
            catalogue=_uri(input_dict, "catalogue"),
        )
        files = {
            split: [str(path) for path in events_lib.files_of(artifact_utils.get_split_uri([events], split))]
            for split in (TRAIN, EVAL)
        }
        state = _check_state(folders, span, settings)
        for artifact in outputs.values():
            _empty(Path(artifact.uri))
        rows = state.events + events.get_int_custom_property("events")
        shards = 1
        while shards * settings.rows_per_shard < rows:
            shards *= 2

        with self._make_beam_pipeline() as pipeline:
            transform(pipeline, files, shards, span, folders, settings)
        _describe(outputs, span, folders, settings)

    def _make_beam_pipeline(self) -> beam.Pipeline:
        if self._make_beam_pipeline_fn is None and not self._beam_pipeline_args:
            # Beam's own default first looks for a runner to download.
            return beam.Pipeline(runner=fn_api_runner.FnApiRunner())
        return super()._make_beam_pipeline()


def transform(
    pipeline: beam.Pipeline,
    files: dict[str, list[str]],
    shards: int,
    span: int,
    folders: shard.Folders,
    settings: Settings,
) -> None:
    """Adds the transform of one span to `pipeline`.

    Args:
      pipeline: The Beam pipeline.
      files: The event files of the splits `train` and `eval`, in their order.
      shards: Into how many shards the keys are cut, a power of two.
      span: The number of the span.
      folders: Where to read and write; the folders to write in exist.
      settings: The settings.
    """
    tasks: list[_Task] = [_Task(split, number, path) for split in files for number, path in enumerate(files[split])]
    if folders.yesterday_history is not None:
        tasks += [_Task(None, 0, str(path)) for path in history_lib.shards_in(folders.yesterday_history)]
    read = (
        pipeline
        | "Inputs" >> beam.Create(tasks)
        | "Spread" >> beam.Reshuffle()
        | "Read"
        >> beam.ParDo(_Read(shards, folders.yesterday_history, settings.query_features)).with_outputs(
            _COUNTED, main="parts"
        )
    )
    grown = (
        pipeline
        | "Once" >> beam.Create([None])
        | "Grow" >> beam.ParDo(_Grow(span, folders, settings), beam.pvalue.AsList(read[_COUNTED]))
    )
    every = pipeline | "Shards" >> beam.Create([(number, None) for number in range(shards)])
    (
        (read["parts"], every)
        | beam.Flatten()
        | "Gather" >> beam.GroupByKey()
        | "Transform" >> beam.ParDo(_TransformShard(shards, span, folders, settings), beam.pvalue.AsSingleton(grown))
    )


@dataclasses.dataclass(frozen=True)
class _Task:
    """A file to read: of an events split, or (`split` None) of yesterday's history."""

    split: str | None
    number: int
    path: str


class _Read(beam.DoFn):
    """A file to the shards its events belong to, and to the counts of what is trained on today."""

    def __init__(self, shards: int, history: str | None, features: Sequence[Feature] | None = None):
        self._shards, self._history, self._features = shards, history, features
        self._until = None if history is None else history_lib.counts_in(history).until

    def process(self, task: _Task) -> Iterator[Any]:
        if task.split is None:
            counted = vocabulary_growth.count_released(
                history_lib.read_held_out(task.path, self._features), self._features
            )
            yield beam.pvalue.TaggedOutput(_COUNTED, _pack(counted))
            return
        events, known = events_lib.read_events(task.path, self._features), 0
        if self._history is not None and self._until is not None:
            events, known = without_known(events, self._history, self._until)
        if known:
            yield 0, known
        if task.split == TRAIN:
            counted = vocabulary_growth.count_train(events, task.number, self._features)
            yield beam.pvalue.TaggedOutput(_COUNTED, _pack(counted))
        for number, part in events_lib.partition(events, self._shards).items():
            yield number, (task.split, task.number, events_lib.to_bytes(part))


class _Grow(beam.DoFn):
    """Yesterday's vocabularies and the counts of all files to today's vocabularies, in their folder."""

    def __init__(self, span: int, folders: shard.Folders, settings: Settings):
        self._span, self._folders, self._settings = span, folders, settings

    def process(self, _: None, counted: list[dict[str, bytes]]) -> Iterator[bool]:
        yesterday = vocabulary_growth.Vocabularies.load(self._folders.yesterday_vocabulary, self._settings.oov_rows)
        tables, of = [_unpack(part) for part in counted], self._folders
        today = vocabulary_growth.grow(yesterday, tables, self._span, self._settings)
        vocabulary_growth.grow_features(tables, of.yesterday_vocabulary, of.vocabulary, self._span, self._settings)
        today = vocabulary_growth.with_catalogue(
            today, of.yesterday_vocabulary, of.catalogue, of.vocabulary, self._settings
        )
        today = retirement.retired(today, of.catalogue, self._settings)
        today.save(of.vocabulary)
        yield True


class _TransformShard(beam.DoFn):
    """The parts of one shard to its files, once today's vocabularies lie in their folder."""

    def __init__(self, shards: int, span: int, folders: shard.Folders, settings: Settings):
        self._shards, self._span, self._folders, self._settings = shards, span, folders, settings
        self._vocabularies: tuple[vocabulary_growth.Vocabularies, vocabulary_growth.Vocabularies] | None = None
        self._ended_before: int | None = None
        self._begun = 0

    def process(self, element: tuple[int, Iterable[tuple[str, int, bytes] | int | None]], grown: bool) -> None:
        number, parts = element
        if self._vocabularies is None:
            folders, oov_rows = self._folders, self._settings.oov_rows
            self._vocabularies = (
                vocabulary_growth.Vocabularies.load(folders.vocabulary, oov_rows),
                vocabulary_growth.Vocabularies.load(folders.yesterday_vocabulary, oov_rows),
            )
            self._ended_before = history_lib.ended_before(folders.yesterday_history, self._settings.keys_end_after)
        today, yesterday = self._vocabularies
        every = list(parts)
        in_order = sorted(part for part in every if isinstance(part, tuple))
        known = sum(part for part in every if isinstance(part, int))
        self._begun += 1
        report("shards of keys", self._begun, self._shards)
        train, held_out = (
            events_lib.concat(
                [events_lib.from_bytes(data) for name, _, data in in_order if name == split],
                self._settings.query_features,
            )
            for split in (TRAIN, EVAL)
        )
        shard.transform_shard(
            train, held_out, number, self._shards, self._span, self._folders, self._settings, today, yesterday, known,
            self._ended_before,
        )  # fmt: skip


def _pack(counted: dict[str, Any]) -> dict[str, bytes]:
    return {kind: events_lib.to_bytes(table) for kind, table in counted.items()}


def _unpack(counted: dict[str, bytes]) -> dict[str, Any]:
    return {kind: events_lib.from_bytes(data) for kind, data in counted.items()}


def _empty(folder: Path) -> None:
    """Removes what an attempt that was cut off left behind: its shards may be others than those of this one."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)


def _uri(input_dict: dict[str, list[types.Artifact]], name: str) -> str | None:
    artifacts = input_dict.get(name)
    return artifact_utils.get_single_uri(artifacts) if artifacts else None


def _check_state(folders: shard.Folders, span: int, settings: Settings) -> history_lib.Counts:
    """What yesterday's history holds; raises when it, yesterday's vocabulary and this span do not belong together."""
    vocabulary, history = folders.yesterday_vocabulary, folders.yesterday_history
    if vocabulary is None and history is None:
        return history_lib.Counts(span=span)
    if vocabulary is None or history is None:
        missing = "vocabulary" if vocabulary is None else "history"
        raise ValueError(
            f"Yesterday's vocabulary and history must be given together. Received: no {missing}. "
            "Transform the span before this one again."
        )
    counts = history_lib.counts_in(history)
    for kind in vocabulary_growth.KINDS:
        known = read_header(vocabulary, kind)
        if known.oov_rows != settings.oov_rows:
            raise ValueError(
                f"`vocabulary.oov_rows` can't be changed once a span was transformed, it was {known.oov_rows}: every "
                f"row would move. Received: {settings.oov_rows}. Set it back, or start with another `root`."
            )
        if known.span != counts.span:
            raise ValueError(
                f"Yesterday's vocabulary and history must be of one span. Received: {known.span} ({kind}) and "
                f"{counts.span} (history)."
            )
    if span <= counts.span:
        raise ValueError(
            f"`span` must be after the span of the state it continues, {counts.span}. Received: {span}. A span that "
            "was delivered again is continued from the state before it."
        )
    return counts


def _describe(outputs: dict[str, types.Artifact], span: int, folders: shard.Folders, settings: Settings) -> None:
    counts = history_lib.counts_in(folders.history)
    items, keys = (read_header(folders.vocabulary, kind) for kind in vocabulary_growth.KINDS)
    items_before = keys_before = Vocabulary.empty(settings.oov_rows).header
    if folders.yesterday_vocabulary is not None:
        items_before, keys_before = (
            read_header(folders.yesterday_vocabulary, kind) for kind in vocabulary_growth.KINDS
        )
    new_items, new_keys = items.given - items_before.given, keys.given - keys_before.given
    retired = {
        "retired_items": retirement.count_retired(items, items_before),
        "retired_keys": retirement.count_retired(keys, keys_before),
    }
    if folders.catalogue is not None:  # which gives rows to items that nobody has met yet
        new_items = vocabulary_growth.first_met(folders.vocabulary, "items", span)
    sizes = {"item_rows": items.size, "key_rows": keys.size}
    properties = {
        "sequences": {
            "new_events": counts.new_events,
            "known_events": counts.known,
            "new_items": new_items,
            "new_keys": new_keys,
            **retired,
            "sequences": counts.sequences,
            **sizes,
        },
        "held_out": {"events": counts.held_out, VERDICT_EVENTS: counts.verdict},
        "vocabulary": sizes,
        "history": {"keys": counts.keys, "events": counts.events},
    }
    for name, artifact in outputs.items():
        for key, value in {"span": span, **properties[name]}.items():
            artifact.set_int_custom_property(key, value)
    for name, splits in (("sequences", [TRAIN]), ("held_out", [SELECT, VERDICT])):
        outputs[name].split_names = artifact_utils.encode_split_names(splits)
        examples_utils.set_payload_format(outputs[name], example_gen_pb2.FORMAT_TF_EXAMPLE)  # type: ignore[attr-defined]
        examples_utils.set_file_format(outputs[name], "tfrecords_gzip")
