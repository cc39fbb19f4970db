"""The encoding as a Beam pipeline: items by shard, then texts by shard, and only new texts through the encoder."""

from __future__ import annotations

import collections
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow.parquet as pq
from apache_beam.ml.inference.base import RunInference
from apache_beam.runners.portability import fn_api_runner
from tfx import types
from tfx.dsl.components.base import base_beam_executor

from components.item_encoder.encodings import HEADER, Encodings, EncodingsError, shards_of_items
from components.item_encoder.inference import Chunk, EncodedChunk, TextModelHandler
from components.item_encoder.item_shard import by_text, partition, read_rows, update_items
from components.item_encoder.published import published_folder
from components.item_encoder.settings import Settings
from components.item_encoder.text_shard import TextShard
from components.span_transform.events import from_bytes, to_bytes
from trainer.encoders.folder import read_architecture
from trainer.encoders.tuned_weights import TunedWeights, encoder_identity

COUNTS = (
    "items", "texts", "missing", "new", "changed", "removed", "encoded", "reused", "dropped", "kept", "files",
)  # fmt: skip
_COUNTED, _TO_ENCODE = "counted", "to_encode"
_BATCHES = 8  # a chunk's: enough to sort by length, few enough to spread a small day


class Executor(base_beam_executor.BaseBeamExecutor):
    """Encodes the texts of one span's catalogue."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """See `ItemEncoder`.

        Raises:
          EncoderError: the encoder can't be run.
          EncodingsError: the catalogue, or yesterday's encodings, can't be used.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        span, settings = exec_properties["span"], Settings.from_json(exec_properties["settings"])
        (catalogue,), (output,) = input_dict["catalogue"], output_dict["encodings"]
        before = [Encodings.open(artifact.uri) for artifact in input_dict.get("yesterday_encodings") or []]
        of_encoder = [folder for tuned in input_dict.get("tuned") or [] if (folder := published_folder(tuned.uri))]
        tuned = of_encoder[0] if of_encoder else None
        today = write_encodings(catalogue.uri, output.uri, span, settings, before, self._make_beam_pipeline, tuned)
        for name, value in {"span": span, "width": today.width, **today.counts}.items():
            output.set_int_custom_property(name, value)
        for name, text in (("encoder", today.encoder), ("column", today.column), ("text", settings.text)):
            output.set_string_custom_property(name, text)
        same = gone_on_with(before, today.encoder)
        replaced = max(before, key=lambda encodings: encodings.span).encoder if before and same is None else ""
        output.set_string_custom_property("replaced_encoder", replaced)
        if tuned is not None:
            output.set_string_custom_property("revision", today.encoder[:12])

    def _make_beam_pipeline(self) -> beam.Pipeline:
        if self._make_beam_pipeline_fn is None and not self._beam_pipeline_args:
            return local_pipeline()
        return super()._make_beam_pipeline()


def local_pipeline() -> beam.Pipeline:
    """One in this process: Beam's own default first looks for a runner to download."""
    return beam.Pipeline(runner=fn_api_runner.FnApiRunner())


def write_encodings(
    catalogue: str,
    folder: str,
    span: int,
    settings: Settings,
    before: Sequence[Encodings],
    make_pipeline: Callable[[], beam.Pipeline],
    tuned: str | None,
) -> Encodings:
    """Encodes the texts of one span's catalogue.

    Args:
      catalogue: Its folder.
      folder: Where to write.
      span: The number of the span.
      settings: The settings.
      before: Yesterday's encodings, if there are any, and perhaps earlier ones by the encoder of the model in service.
      make_pipeline: Makes a Beam pipeline, to be run here.
      tuned: The folder of the revision of the encoder that encodes, see `TunedWeights`; None for the encoder as it is.

    Raises:
      EncoderError: the encoder can't be run.
      EncodingsError: the catalogue, or yesterday's encodings, can't be used.
    """
    weights = None if tuned is None else TunedWeights.load(tuned)
    identity = encoder_identity(settings.name, settings.folder, settings.max_tokens, settings.prefix, weights)
    # Another encoder's vectors are no help: they are neither read nor carried along.
    yesterday = gone_on_with(before, identity.digest)
    pieces = catalogue_pieces(catalogue)
    today = Encodings(
        folder=Path(folder),
        encoder=identity.digest,
        column=identity.column,
        text=settings.text,
        width=read_architecture(settings.folder).width,
        span=span,
        shards=_shards(sum(rows for _, _, rows in pieces), settings.rows_per_shard, yesterday),
        counts=dict.fromkeys(COUNTS, 0),
    )
    # An earlier attempt may have left files of other shards; without its header what is left of it is not whole.
    (today.folder / HEADER).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    today.folder.mkdir(parents=True)
    with make_pipeline() as pipeline:
        encode(pipeline, [(path, group) for path, group, _ in pieces], today, yesterday, settings, tuned)
    return Encodings.open(folder)


def gone_on_with(before: Sequence[Encodings], encoder: str) -> Encodings | None:
    """The last of some encodings that are by the encoder of this digest; None of none."""
    same = [encodings for encodings in before if encodings.encoder == encoder]
    return max(same, key=lambda encodings: encodings.span, default=None)


def catalogue_pieces(folder: str) -> list[tuple[str, int, int]]:
    """The row groups of a catalogue: file, number and rows.

    Raises:
      EncodingsError: there is no Parquet file.
    """
    files = _parquet_files(folder)
    if not files:
        raise EncodingsError(
            f"A catalogue must be a folder of Parquet files. Received: none in {folder}. Run what writes it again."
        )
    pieces = []
    for path in files:
        about = pq.read_metadata(path)
        pieces += [(str(path), group, about.row_group(group).num_rows) for group in range(about.num_row_groups)]
    return pieces


def _parquet_files(folder: str) -> list[Path]:
    """Parquet files anywhere below a folder, in name order; hidden ones are nobody's."""
    paths = sorted(Path(folder).rglob("*.parquet"))
    return [path for path in paths if not any(part[0] in "._" for part in path.relative_to(folder).parts)]


def _shards(rows: int, rows_per_shard: int, yesterday: Encodings | None) -> int:
    """A power of two, never fewer than yesterday: a shard then has one shard of yesterday to look into."""
    shards = 1 if yesterday is None else yesterday.shards
    while shards * rows_per_shard < rows:
        shards *= 2
    return shards


def encode(
    pipeline: beam.Pipeline,
    pieces: list[tuple[str, int]],
    today: Encodings,
    yesterday: Encodings | None,
    settings: Settings,
    tuned: str | None,
) -> None:
    """Adds the encoding of one catalogue to `pipeline`; the last that it writes is the header.

    Args:
      pipeline: The Beam pipeline.
      pieces: Files and row groups of the catalogue.
      today: What is written, without its counts; the folder exists and is empty.
      yesterday: By the same encoder; None encodes everything.
      settings: The settings.
      tuned: See `write_encodings`.
    """

    def every_shard(label: str) -> beam.PCollection:
        return pipeline | label >> beam.Create([(number, None) for number in range(today.shards)])

    rows = (
        pipeline
        | "Catalogue" >> beam.Create(pieces)
        | "Spread" >> beam.Reshuffle()
        | "Read" >> beam.ParDo(_Read(today, settings))
    )
    items = (
        (rows, every_shard("ItemShards"))
        | "Items" >> beam.Flatten()
        | "GatherItems" >> beam.GroupByKey()
        | "UpdateItems" >> beam.ParDo(_UpdateItems(today, yesterday)).with_outputs(_COUNTED, main="changes")
    )
    planned = (
        (items["changes"], every_shard("TextShards"))
        | "Changes" >> beam.Flatten()
        | "GatherChanges" >> beam.GroupByKey()
        | "Plan" >> beam.ParDo(_Plan(today, yesterday, settings)).with_outputs(_TO_ENCODE, main="plans")
    )
    encoded = (
        planned[_TO_ENCODE]
        | "SpreadTexts" >> beam.Reshuffle()
        | "Encode" >> RunInference(TextModelHandler(settings, tuned))
        | "ByShard" >> beam.Map(lambda chunk: (chunk.shard, chunk))
    )
    written = (
        (planned["plans"], encoded)
        | "Texts" >> beam.Flatten()
        | "GatherTexts" >> beam.GroupByKey()
        | "Finish" >> beam.ParDo(_Finish(today, yesterday, settings))
    )
    (
        (items[_COUNTED], written)
        | "Counts" >> beam.Flatten()
        | "AddUp" >> beam.CombineGlobally(_add_up)
        | "Header" >> beam.Map(_write_header, today)
    )


class _Read(beam.DoFn):
    """A row group to its shards of items."""

    def __init__(self, today: Encodings, settings: Settings) -> None:
        self._today, self._text = today, settings.text

    def process(self, piece: tuple[str, int]) -> Iterator[tuple[int, bytes]]:
        rows = read_rows(*piece, self._text, self._today.encoder)
        for shard, part in partition(rows, shards_of_items(rows["item"], self._today.shards)).items():
            yield shard, to_bytes(part)


class _UpdateItems(beam.DoFn):
    """A shard of items to its file, to the changes by shard of text, and to counts."""

    def __init__(self, today: Encodings, yesterday: Encodings | None) -> None:
        self._today, self._yesterday = today, yesterday

    def process(self, element: tuple[int, Iterable[bytes | None]]) -> Iterator[Any]:
        number, parts = element
        rows = [from_bytes(part) for part in parts if part is not None]
        shards = self._today.shards
        updated = update_items(rows, number, shards, self._today.folder, self._yesterday)
        yield beam.pvalue.TaggedOutput(_COUNTED, updated.counts)
        for shard, part in by_text(updated.changes, shards).items():
            yield shard, to_bytes(part)


class _Plan(beam.DoFn):
    """A shard of texts to the chunks that are to be encoded; the changes go on."""

    def __init__(self, today: Encodings, yesterday: Encodings | None, settings: Settings) -> None:
        self._today, self._yesterday = today, yesterday
        self._size = _BATCHES * settings.batch

    def process(self, element: tuple[int, Iterable[bytes | None]]) -> Iterator[Any]:
        number, parts = element[0], [part for part in element[1] if part is not None]
        keys, texts = _text_shard(number, parts, self._today, self._yesterday).to_encode()
        for start in range(0, len(keys), self._size):
            end = start + self._size
            yield beam.pvalue.TaggedOutput(_TO_ENCODE, Chunk(number, keys[start:end], texts[start:end]))
        yield number, parts


class _Finish(beam.DoFn):
    """A shard of texts with what was encoded of it to its files and counts."""

    def __init__(self, today: Encodings, yesterday: Encodings | None, settings: Settings) -> None:
        self._today, self._yesterday, self._keep_unused = today, yesterday, settings.keep_unused

    def process(self, element: tuple[int, Iterable[list[bytes] | EncodedChunk]]) -> Iterator[dict[str, int]]:
        number, given = element[0], list(element[1])
        (parts,) = (part for part in given if isinstance(part, list))
        chunks = [part for part in given if isinstance(part, EncodedChunk)]
        shard = _text_shard(number, parts, self._today, self._yesterday)
        keys = [key for chunk in chunks for key in chunk.keys]
        vectors = np.concatenate([np.zeros([0, self._today.width], np.float32), *(chunk.vectors for chunk in chunks)])
        yield shard.finish(self._today.folder, keys, vectors, self._keep_unused)


def _text_shard(number: int, parts: list[bytes], today: Encodings, yesterday: Encodings | None) -> TextShard:
    return TextShard.of([from_bytes(part) for part in parts], number, today.shards, today.span, yesterday)


def _add_up(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: collections.Counter[str] = collections.Counter()
    for part in counts:
        total.update(part)
    return dict(total)


def _write_header(counts: dict[str, int], today: Encodings) -> None:
    counts = {**counts, "reused": counts["texts"] - counts["encoded"]}
    Encodings(**{**today.__dict__, "counts": {name: counts[name] for name in COUNTS}}).write()
