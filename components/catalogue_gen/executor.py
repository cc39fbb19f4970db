"""Reads what was delivered on Beam, and takes it into yesterday's state."""

from __future__ import annotations

import dataclasses
import json
import os
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from tfx import types
from tfx.dsl.components.base import base_beam_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils

from components.catalogue_gen.deliveries import deliveries
from components.catalogue_gen.read_fn import ReadFn, ReadSummary, add_up, read_rows, refuse_bad
from components.catalogue_gen.settings import Settings
from components.catalogue_gen.stored import StoredCatalogue
from components.span_example_gen.files import read_file, remove_tree, with_rows, write_file
from components.span_example_gen.readers.raw_batch import group_pieces
from components.span_example_gen.readers.registry import plan_files
from trainer.features.declaration import WITHDRAWN

REJECTS_FILE = "rejects.csv"
_PARTIAL = ".partial"


class Executor(base_beam_executor.BaseBeamExecutor):
    """See `CatalogueGen`."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the state and sets the properties of its artifact.

        Raises:
          CatalogueError: a delivery can't be used. Rejected rows lie in the folder `refused` beside the component's
            `catalogue`, which the message names.
        """
        settings, span = Settings.from_json(exec_properties["settings"]), int(exec_properties["span"])
        catalogue = artifact_utils.get_single_instance(output_dict["catalogue"])
        yesterday = input_dict.get("yesterday") or []
        before = StoredCatalogue.load(yesterday[0].uri if yesterday else None, settings)
        due = deliveries(settings, span, before.through)
        files = with_rows([file for delivery in due for file in delivery.files])
        partial = os.path.join(catalogue.uri, _PARTIAL)
        remove_tree(partial)
        fileio.makedirs(partial)
        try:
            pieces = plan_files(settings.format, files, settings.columns)
            self._read(list(enumerate(group_pieces(pieces))), settings, partial)
            summary = ReadSummary.read(partial)
            rejects = b"file,line,reason,value\n"
            rejects += b"".join(read_file(os.path.join(partial, f"{name}.csv")) for name in summary.shards)
            refused = os.path.join(os.path.dirname(os.path.dirname(catalogue.uri)), "refused", f"{span}.csv")
            if summary.rejects > settings.max_reject_fraction * summary.rows:
                fileio.makedirs(os.path.dirname(refused))
                write_file(refused, rejects)
            refuse_bad(summary, settings, refused)
            rows = read_rows(partial, summary.shards, settings)
            after, differences = before.advanced(rows, settings, span, due[-1].span if due else None)
        finally:
            remove_tree(partial)
        if fileio.exists(refused):
            fileio.remove(refused)
        after.save(catalogue.uri)
        write_file(os.path.join(catalogue.uri, REJECTS_FILE), rejects)
        waited, waiting = len(before.waiting), len(after.waiting)
        counts = {
            "span": span,
            "rows": summary.rows,
            "rejects": summary.rejects,
            "waited": waited,
            "waiting": waiting,
            "kept": len(rows) + waited - waiting - differences.repeats,
            "all": len(after.state),
            "items": len(after.state) - int(after.state[WITHDRAWN].to_numpy().sum()),
            **dataclasses.asdict(differences),
        }
        for name, count in counts.items():
            catalogue.set_int_custom_property(name, count)
        for name, value in {"reject_reasons": summary.reasons, "unreadable": summary.unreadable}.items():
            catalogue.set_string_custom_property(name, json.dumps(value, sort_keys=True))

    def _read(self, tasks: list[Any], settings: Settings, folder: str) -> None:
        with self._make_beam_pipeline() as pipeline:
            _ = (
                pipeline
                | "Pieces" >> beam.Create(tasks)
                | "SpreadPieces" >> beam.Reshuffle()
                | "Read" >> beam.ParDo(ReadFn(settings, folder))
                | "Summaries" >> beam.combiners.ToList()
                | "AddUp" >> beam.Map(add_up, settings, folder)
            )

    def _make_beam_pipeline(self) -> beam.Pipeline:
        if self._make_beam_pipeline_fn is not None or self._beam_pipeline_args:
            return super()._make_beam_pipeline()
        # Without arguments Beam's own default would first look for a binary to download.
        return beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions([]))
