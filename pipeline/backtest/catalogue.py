"""The catalogue of each span of a backtest, and what encoders make of it: as the pipeline has them, in this process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from components.catalogue_gen.checks import check, rows_schema
from components.catalogue_gen.deliveries import deliveries
from components.catalogue_gen.read_fn import ReadSummary, refuse_bad
from components.catalogue_gen.settings import Settings
from components.catalogue_gen.stored import StoredCatalogue
from components.item_encoder.encodings import Encodings
from components.item_encoder.executor import local_pipeline, write_encodings
from components.item_encoder.settings import Settings as EncoderSettings
from components.span_example_gen.files import with_rows
from components.span_example_gen.readers.registry import plan_files, reader_of
from components.span_example_gen.shards import Summary


def write_encoded(
    encoders: Mapping[str, EncoderSettings],
    span: int,
    yesterday: Path | None,
    catalogue: Path,
    folder: Path,
    tuned: Mapping[str, str | None],
) -> None:
    """Writes the encodings of each text of a catalogue below `folder`, going on from those below `yesterday`.

    `tuned`: the folders of the revisions of those encoders that are tuned (see `write_encodings`).
    """
    for name, settings in encoders.items():
        before = [] if yesterday is None else [Encodings.open(yesterday / name)]
        write_encodings(str(catalogue), str(folder / name), span, settings, before, local_pipeline, tuned.get(name))


def write_catalogue(settings: Settings, span: int, yesterday: Path | None, folder: Path) -> None:
    """Writes the catalogue as `span` finds it into the existing `folder`.

    Raises:
      CatalogueError: the pipeline would refuse it.
    """
    before = StoredCatalogue.load(yesterday, settings)
    due = deliveries(settings, span, before.through)
    files = with_rows([file for delivery in due for file in delivery.files])
    _, read = reader_of(settings.format)
    summary, tables = Summary(0), [rows_schema(settings).empty_table()]
    for piece in plan_files(settings.format, files, settings.columns):
        for raw in read(piece, settings.columns):
            rows, rejects = check(raw, settings)
            summary.read += len(raw.rows) + len(raw.malformed)
            summary.count(piece.name, rejects)
            tables.append(rows)
    refuse_bad(
        ReadSummary(summary.read, summary.reasons, summary.examples), settings, "run the span to have them written"
    )
    after, _ = before.advanced(pa.concat_tables(tables), settings, span, due[-1].span if due else None)
    after.save(folder)
