"""What the report says, read from ML Metadata, the artifacts and TF Serving's folder."""

from __future__ import annotations

import collections
import csv
import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from ml_metadata.metadata_store import metadata_store

from components.span_pusher.verdict import OVERALL, Verdict
from components.span_pusher.version_folder import versions
from pipeline.config import Config
from pipeline.explain.trained_model import newest_folder
from pipeline.ledger.models import model_lineage_in
from pipeline.ledger.runs import Run, run_id
from pipeline.ledger.serving_state import ServingState, read_serving_state
from pipeline.metadata_store.connection import connect
from pipeline.metrics import watched
from pipeline.monitoring.report.data_quality import Anomaly, Figure, read_anomalies, read_figures
from pipeline.monitoring.report.model_lineage import Version, read_lineage
from pipeline.monitoring.report.sample_users import SampleUsers, read_sample_users
from pipeline.monitoring.report.training_cost import Cost, Training, estimate
from pipeline.operations.disk_usage import DiskUse, disk_use
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
class ReportData:
    """What the page shows.

    Attributes:
      name: the recommender's.
      runs: the latest run of each span of the report, oldest first; at least one.
      judged: the last of them that came to a verdict; None if none did.
      verdict: its verdict; None with it, or when its file is gone.
      rejects: by reason, the most frequent first.
      served: versions in TF Serving's folder, newest first.
      intervals: whether the settings ask the gate for bounds.
      serving_state: what the next run starts from and owes; None without a run.
      lineage: the models of these spans and those that they come from, oldest first.
      costs: of each day that trained, beside a full retrain.
      figures, anomalies: what TFX's statistics and validation say of the last span.
      drift_watched: whether the policy measures drift at all.
      sample_users: what some users are recommended, before the last push and after.
      disk: what lies under the pipeline root.
    """

    name: str
    runs: Sequence[Run]
    judged: Run | None
    verdict: Verdict | None
    rejects: Sequence[Rejects]
    served: Sequence[Served]
    intervals: bool = False
    serving_state: ServingState | None = None
    lineage: Sequence[Version] = ()
    costs: Sequence[Cost] = ()
    figures: Sequence[Figure] = ()
    anomalies: Sequence[Anomaly] = ()
    drift_watched: bool = False
    sample_users: SampleUsers | None = None
    disk: DiskUse | None = None

    @property
    def metric(self) -> str:
        """The metric that stands for quality where there is room for one."""
        return watched(dict.fromkeys(name for run in self.runs for name in (*run.next_span, *run.candidate)))


def read_report_data(config: Config, runs: Sequence[Run]) -> ReportData:
    """Reads what `runs`, oldest first, left behind."""
    store = connect(config)
    judged = next((run for run in reversed(runs) if run.verdict), None)
    folders = {run.span: _uri(store, config, run, "Examples", "rejects") for run in runs}
    lineage, present = model_lineage_in(store, config.name), versions(config.serving_path)
    served = present[-1] if present else None
    pushed = next((run for run in reversed(runs) if run.pushed is not None and run.pushed == served), None)
    latest, before = runs[-1], runs[-2] if len(runs) > 1 else None
    statistics = [None if run is None else _uri(store, config, run, "ExampleStatistics") for run in (latest, before)]
    trainings, new_events = _trainings(store, config)
    return ReportData(
        name=config.name,
        runs=runs,
        judged=judged,
        verdict=None if judged is None else _verdict(_uri(store, config, judged, "PushedModel", "verdict")),
        rejects=count_rejects([folders[run.span] for run in runs]),
        served=[_served(config.serving_path / str(version)) for version in reversed(present)],
        intervals=config.gate.confidence_intervals,
        serving_state=read_serving_state(config),
        lineage=read_lineage(lineage, present, runs[0].span),
        costs=estimate(runs, trainings, new_events),
        figures=read_figures(*statistics),
        anomalies=read_anomalies(_uri(store, config, latest, "ExampleAnomalies")),
        drift_watched=bool(config.policy.drift.columns),
        sample_users=read_sample_users(
            config,
            lineage,
            served,
            None if pushed is None else _uri(store, config, pushed, "Examples", "events"),
            _uri(store, config, latest, "WarmspanVocabulary", "item_rows")
            or newest_folder(config, "WarmspanVocabulary"),
        ),
        disk=disk_use(config),
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


def _trainings(store: metadata_store.MetadataStore, config: Config) -> tuple[dict[int, Training], dict[int, int]]:
    """Of every span the last training, and how many events it brought to train on."""
    context = store.get_context_by_type_and_name("pipeline", config.name)
    types = {artifact_type.id: artifact_type.name for artifact_type in store.get_artifact_types()}
    trainings, new_events = {}, {}
    for artifact in sorted(
        store.get_artifacts_by_context(context.id) if context else (), key=lambda artifact: artifact.id
    ):
        kind, properties = types[artifact.type_id], artifact.custom_properties
        if kind == "Model" and "examples" in properties:
            seconds = properties["training_seconds"].double_value if "training_seconds" in properties else 0.0
            trainings[properties["span"].int_value] = Training(
                properties["examples"].int_value, seconds, properties["epochs"].int_value
            )
        elif kind == "Examples" and "new_events" in properties:
            new_events[properties["span"].int_value] = properties["new_events"].int_value
    return trainings, new_events


def _uri(
    store: metadata_store.MetadataStore, config: Config, run: Run, kind: str, having: str | None = None
) -> Path | None:
    """The folder of what `run` made of a type, told from others of that type by a property.

    What TFX's own parts make does not say its span; there the newest is the run's own.
    """
    context = store.get_context_by_type_and_name("pipeline_run", run_id(config.name, run.name, run.revision))
    if context is None:
        return None
    type_id = {artifact_type.name: artifact_type.id for artifact_type in store.get_artifact_types()}.get(kind)
    for artifact in sorted(store.get_artifacts_by_context(context.id), key=lambda artifact: -artifact.id):
        properties = artifact.custom_properties
        if artifact.type_id != type_id:
            continue
        if having is None or (having in properties and properties["span"].int_value == run.span):
            return Path(artifact.uri)
    return None


def _verdict(folder: Path | None) -> Verdict | None:
    if folder is None or not (folder / "verdict.json").exists():
        return None
    verdict = Verdict(**json.loads((folder / "verdict.json").read_text(encoding="utf-8")))
    return dataclasses.replace(
        verdict, metrics={name: verdict.metrics[name] for name in sorted(verdict.metrics, key=_place)}
    )


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
