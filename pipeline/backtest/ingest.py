"""A span's files to clean events in memory: the checks of `SpanExampleGen`, with neither Beam nor TFX's executor."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from components.span_example_gen.checks import check
from components.span_example_gen.dedup_and_split import EVAL, TRAIN, select
from components.span_example_gen.driver import processor_of
from components.span_example_gen.errors import SpanError
from components.span_example_gen.event_features import kinds_of
from components.span_example_gen.files import list_files, with_rows
from components.span_example_gen.hashing import hash_events
from components.span_example_gen.readers.raw_batch import Kind
from components.span_example_gen.readers.registry import reader_of
from components.span_example_gen.refusal_message import explain
from components.span_example_gen.settings import Settings, make_settings
from components.span_example_gen.shards import Summary, reject_lines
from components.span_example_gen.write_plan import KINDS, IngestSummary
from components.span_transform.events import schema_of
from components.suppression_list import SuppressionList
from pipeline.config import Config
from pipeline.parameters.graph_parameters import GraphParameters

_REJECTS_HEADER = "file,line,reason,value\n"


@dataclasses.dataclass(frozen=True)
class Events:
    """A span's clean events, each part in the order of the user's files.

    The columns are those of `span_transform.events.schema_of`, or also the context columns, as the binary text that
    they were read as; `kinds` says what each of all columns stands for.
    """

    train: pa.Table
    held_out: pa.Table
    kinds: Mapping[str, Kind] = dataclasses.field(default_factory=dict)


def ingest_settings(config: Config) -> Settings:
    """How a row becomes an event, as the pipeline reads it."""
    return make_settings(GraphParameters.of(config).data, config.data.pattern, config.split.eval_fraction)


def ingest(config: Config, span: int, rejects_folder: Path) -> Events:
    """Reads the newest delivery of a span, whole, without its context columns.

    Raises:
      SpanError: the pipeline would refuse the span. Its rejected rows then lie in `rejects_folder`.
    """
    every, schema = ingest_all(config, span, rejects_folder), schema_of(config.features.of_query)
    return Events(*(part.select(schema.names).cast(schema) for part in (every.train, every.held_out)))


def ingest_all(config: Config, span: int, rejects_folder: Path) -> Events:
    """The same with the context columns."""
    settings = ingest_settings(config)
    plan, read = reader_of(settings.format)
    window, forgotten = settings.window(span), SuppressionList.load(settings.forgotten)
    summary, lines = Summary(0), [_REJECTS_HEADER]
    batches, hashes = [], []
    pieces = [
        piece for path, name in with_rows(_files(config, span)) for piece in plan(path, name, settings.required_columns)
    ]
    for piece in pieces:
        for raw in read(piece, settings.columns):
            clean, rejects = check(raw, settings, window, forgotten)
            summary.read += len(raw.rows) + len(raw.malformed)
            summary.count(piece.name, rejects)
            summary.unite({name: raw.kinds.get(name, "bytes") for name in settings.context})
            summary.events += clean.num_rows
            lines.append(reject_lines(piece.name, rejects))
            batches.append(clean)
            hashes.append(hash_events(clean))
    _refuse(summary, settings, span, "".join(lines), rejects_folder / f"{settings.label(span)}.csv")
    events = pa.Table.from_batches(batches)
    choice = select(np.concatenate(hashes), events["timestamp"].to_numpy(), settings.eval_fraction)
    train, held_out = (events.filter(pa.array(choice == side)).combine_chunks() for side in (TRAIN, EVAL))
    return Events(train, held_out, {**KINDS, **summary.kinds, **kinds_of(settings.query_features)})


def _files(config: Config, span: int) -> list[tuple[str, str]]:
    base = str(config.data.path)
    processor = processor_of(base, config.data.pattern, span)
    _, version = processor.resolve_span_and_version()
    pattern = processor.get_pattern_for_span_version(config.data.pattern, span, version)
    return list_files(base, pattern, version is not None)


def _refuse(summary: Summary, settings: Settings, span: int, rejects: str, path: Path) -> None:
    verdict = IngestSummary(
        read=summary.read,
        counts={"events": summary.events, "rejects": sum(summary.reasons.values())},
        reasons=summary.reasons,
        examples=summary.examples,
    )
    if verdict.refused(settings.max_reject_fraction):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(rejects, encoding="utf-8")
        raise SpanError(explain(verdict, settings, span, str(path)))
