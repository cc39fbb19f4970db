"""What the report says beyond the ledger: the verdict by slice, rejects by reason, the served versions."""

from __future__ import annotations

import collections
import csv
import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from ml_metadata.metadata_store import metadata_store

from components.span_pusher.push import versions
from components.span_pusher.verdict import OVERALL, Verdict
from pipeline.config import Config
from pipeline.ledger import Run, run_id
from pipeline.store import connect
from serving.bundle import BundleError, Manifest


@dataclasses.dataclass(frozen=True)
class Rejects:
    """Rows that were not used, for one reason.

    Attributes:
      reason: as in the rejects file.
      latest, total: rows of the last span, and of all spans of the report.
      example: a value that was refused, of the latest span that had one.
    """

    reason: str
    latest: int
    total: int
    example: str


@dataclasses.dataclass(frozen=True)
class Served:
    """A version in TF Serving's folder; `parent` is None where training began with fresh weights."""

    version: int
    span: int | None
    parent: int | None
    learned: int
    metrics: Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class Facts:
    """What the page shows.

    Attributes:
      name: the recommender's.
      runs: the latest run of each span of the report, oldest first; at least one.
      judged: the last of them that came to a verdict; None if none did.
      verdict: its verdict; None with it, or when its file is gone.
      rejects: by reason, the most frequent first.
      served: versions in TF Serving's folder, newest first.
    """

    name: str
    runs: Sequence[Run]
    judged: Run | None
    verdict: Verdict | None
    rejects: Sequence[Rejects]
    served: Sequence[Served]

    @property
    def metric(self) -> str:
        """The metric that stands for quality where there is room for one."""
        found = list(dict.fromkeys(name for run in self.runs for name in (*run.next_span, *run.candidate)))
        return next((name for name in ("recall", "auc", "rmse") if name in found), found[0] if found else "")


def read_facts(config: Config, runs: Sequence[Run]) -> Facts:
    """Reads what `runs`, oldest first, left behind."""
    store = connect(config) if runs else None
    judged = next((run for run in reversed(runs) if run.verdict), None)
    folders = {run.span: _uri(store, config, run, "Examples", "rejects") for run in runs}
    return Facts(
        name=config.name,
        runs=runs,
        judged=judged,
        verdict=None if judged is None else _verdict(_uri(store, config, judged, "PushedModel", "verdict")),
        rejects=count_rejects([folders[run.span] for run in runs]),
        served=[_served(config.serving_path / str(version)) for version in reversed(versions(config.serving_path))],
    )


def count_rejects(folders: Sequence[Path | None]) -> list[Rejects]:
    """Counts `rejects.csv` of each span's folder by reason; the last folder is the latest span's. None is no span."""
    by_span = [collections.Counter[str]() for _ in folders]
    examples: dict[str, str] = {}
    for counts, folder in zip(by_span, folders, strict=True):
        if folder is None or not (folder / "rejects.csv").exists():
            continue
        with (folder / "rejects.csv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                counts[row["reason"]] += 1
                examples[row["reason"]] = row["value"]
    total = sum(by_span, collections.Counter[str]())
    return [Rejects(reason, by_span[-1][reason], count, examples[reason]) for reason, count in total.most_common()]


def _uri(store: metadata_store.MetadataStore, config: Config, run: Run, kind: str, having: str) -> Path | None:
    """The folder of what `run` made of a type, told from others of that type by a property."""
    context = store.get_context_by_type_and_name("pipeline_run", run_id(config.name, run.name, run.revision))
    if context is None:
        return None
    type_id = {one.name: one.id for one in store.get_artifact_types()}.get(kind)
    for one in sorted(store.get_artifacts_by_context(context.id), key=lambda one: -one.id):
        properties = one.custom_properties
        if one.type_id == type_id and having in properties and properties["span"].int_value == run.span:
            return Path(one.uri)
    return None


def _verdict(folder: Path | None) -> Verdict | None:
    if folder is None or not (folder / "verdict.json").exists():
        return None
    found = Verdict(**json.loads((folder / "verdict.json").read_text(encoding="utf-8")))
    return dataclasses.replace(found, metrics={name: found.metrics[name] for name in sorted(found.metrics, key=_place)})


def _place(of_slice: str) -> tuple[bool, str, int]:
    """Where a slice stands: all first, then new, cold and warm of each kind."""
    kind, _, value = of_slice.partition(":")
    order = ("new", "cold", "warm")
    return of_slice != OVERALL, kind, order.index(value) if value in order else len(order)


def _served(folder: Path) -> Served:
    try:
        about = Manifest.read(folder).about
    except BundleError:
        about = {}
    return Served(
        int(folder.name),
        about.get("span"),
        about.get("parent"),
        len(about.get("learned", ())),
        about.get("metrics", {}),
    )
