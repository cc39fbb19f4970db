"""Runs the two halves on Beam and makes the result visible in one step."""

from __future__ import annotations

import errno
import json
import logging
import os
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from tfx import types
from tfx.components.example_gen import utils
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_beam_executor
from tfx.dsl.io import fileio
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import proto_utils

from components.span_example_gen.clean_fn import CleanFn
from components.span_example_gen.errors import SpanError
from components.span_example_gen.files import list_files, read_file, remove_tree, with_rows, write_file
from components.span_example_gen.readers.raw_batch import group_pieces
from components.span_example_gen.readers.registry import plan_files
from components.span_example_gen.refusal_message import explain
from components.span_example_gen.settings import Settings, settings_in
from components.span_example_gen.shards import read_rejects
from components.span_example_gen.span_window import SpanWindow
from components.span_example_gen.write_fn import WriteFn
from components.span_example_gen.write_plan import SPLITS, VERDICT, IngestSummary, plan
from components.suppression_list import SuppressionList

REJECTS_FILE = "rejects.csv"
_REJECTS_HEADER = b"file,line,reason,value\n"
_PARTIAL = ".partial"
_log = logging.getLogger(__name__)


class Executor(base_beam_executor.BaseBeamExecutor):
    """Reads, checks and writes a span. Beam carries pieces of files and names of shards, never rows."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the splits and `rejects.csv` into the Examples artifact and sets its properties.

        Raises:
          SpanError: the span can't be used. The artifact's folder is left as it was found, without splits; the rejected
            rows lie in the folder `refused` beside the component's `examples`, which the message names.
        """
        examples = artifact_utils.get_single_instance(output_dict[standard_component_specs.EXAMPLES_KEY])
        partial = os.path.join(examples.uri, _PARTIAL)
        for leftover in (partial, *(_split_folder(examples.uri, name) for name in SPLITS)):
            remove_tree(leftover)
        try:
            verdict = self._write(exec_properties, examples.uri, partial)
        except OSError as error:
            raise _disk_error(error, examples.uri) from None
        except Exception as error:
            # Beam and TensorFlow have their own exceptions for a disk that is full; the text is all they share.
            if os.strerror(errno.ENOSPC) in str(error):
                raise _disk_error(error, examples.uri) from None
            raise
        finally:
            remove_tree(partial)
        examples.split_names = artifact_utils.encode_split_names(list(SPLITS))
        examples_utils.set_payload_format(examples, example_gen_pb2.FORMAT_TF_EXAMPLE)
        examples_utils.set_file_format(examples, "tfrecords_gzip")
        # StatisticsGen hands this property on, and no custom ones: without it nobody knows whose statistics they are.
        examples.span = int(exec_properties[utils.SPAN_PROPERTY_NAME])
        for name, count in verdict.counts.items():
            examples.set_int_custom_property(name, count)
        examples.set_string_custom_property("reject_reasons", json.dumps(verdict.reasons, sort_keys=True))
        if verdict.feature_counts:
            examples.set_string_custom_property("features", json.dumps(verdict.feature_counts, sort_keys=True))

    def _write(self, exec_properties: dict[str, Any], uri: str, partial: str) -> IngestSummary:
        settings = settings_in(exec_properties)
        span = int(exec_properties[utils.SPAN_PROPERTY_NAME])
        split = proto_utils.json_to_proto(
            exec_properties[standard_component_specs.INPUT_CONFIG_KEY], example_gen_pb2.Input()
        ).splits[0]
        versioned = exec_properties.get(utils.VERSION_PROPERTY_NAME) is not None
        input_base = exec_properties[standard_component_specs.INPUT_BASE_KEY]
        files = list_files(input_base, split.pattern, versioned)
        pieces = plan_files(settings.format, with_rows(files), settings.required_columns)
        shards = os.path.join(partial, "shards")
        for folder in (shards, *(_split_folder(partial, name) for name in SPLITS)):
            fileio.makedirs(folder)
        self._run(list(enumerate(group_pieces(pieces))), settings, settings.window(span), shards, partial)
        verdict = IngestSummary(**json.loads(read_file(os.path.join(shards, VERDICT))))
        if verdict.error:
            raise SpanError(f"Span {settings.label(span)} can't be read. {verdict.error}")
        refused_file = os.path.join(os.path.dirname(os.path.dirname(uri)), "refused", f"{settings.label(span)}.csv")
        rejects = _REJECTS_HEADER + b"".join(read_rejects(shards, name) for name in verdict.shards)
        if verdict.refused(settings.max_reject_fraction):
            fileio.makedirs(os.path.dirname(refused_file))
            write_file(refused_file, rejects)
            raise SpanError(explain(verdict, settings, span, refused_file))
        for feature in settings.query_features:
            if 0 < verdict.counts["events"] <= verdict.feature_counts[feature.name]["missing"]:
                _log.warning(
                    "No event of span %s has a value of the feature %s (column %s): it counts as missing. Look whether "
                    "the column was delivered; `missing: reject` would refuse such a span.",
                    settings.label(span), feature.name, feature.source,
                )  # fmt: skip
        lost = [name for name in verdict.files if not fileio.exists(os.path.join(partial, name))]
        if lost:
            raise SpanError(f"Every file of the span must be written. Missing after the run: {lost[:3]}. Run it again.")
        write_file(os.path.join(uri, REJECTS_FILE), rejects)
        for name in reversed(SPLITS):
            fileio.rename(_split_folder(partial, name), _split_folder(uri, name))
        if fileio.exists(refused_file):
            fileio.remove(refused_file)
        return verdict

    def _run(self, tasks: list[Any], settings: Settings, window: SpanWindow | None, shards: str, splits: str) -> None:
        forgotten = SuppressionList.load(settings.forgotten)
        with self._make_beam_pipeline() as pipeline:
            _ = (
                pipeline
                | "Pieces" >> beam.Create(tasks)
                | "SpreadPieces" >> beam.Reshuffle()
                | "Clean" >> beam.ParDo(CleanFn(settings, window, shards, forgotten))
                | "Summaries" >> beam.combiners.ToList()
                | "Plan" >> beam.FlatMap(plan, settings, window, shards)
                | "SpreadShards" >> beam.Reshuffle()
                | "Write" >> beam.ParDo(WriteFn(shards, splits))
            )

    def _make_beam_pipeline(self) -> beam.Pipeline:
        if self._make_beam_pipeline_fn is not None or self._beam_pipeline_args:
            return super()._make_beam_pipeline()
        # Without arguments Beam's own default would first look for a binary to download.
        return beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions([]))


def _split_folder(uri: str, name: str) -> str:
    return os.path.join(uri, f"Split-{name}")


def _disk_error(error: Exception, uri: str) -> Exception:
    if isinstance(error, OSError) and error.errno != errno.ENOSPC:
        return error
    return SpanError(
        f"The disk must have room for the span's Examples. Received: {os.strerror(errno.ENOSPC)!r} while writing below "
        f"{uri}. No part of the span was kept. Free space and run the span again."
    )
