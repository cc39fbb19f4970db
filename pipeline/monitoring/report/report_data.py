"""What the report says, read from ML Metadata, the artifacts and TF Serving's folder."""

from __future__ import annotations

import collections
import csv
import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from components.incremental_trainer.artifact_files import LOSSES_FILE
from components.next_span_evaluator.component import SLICES_FILE
from components.span_pusher.verdict import OVERALL, Verdict
from components.span_pusher.version_folder import versions
from pipeline.config import Config
from pipeline.explain.trained_model import newest_folder
from pipeline.ledger.models import model_lineage_in
from pipeline.ledger.reader import Artifact, LedgerReader, newest_of
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
from trainer.training_log import Losses

BySlice = Mapping[str, Mapping[str, float]]


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
      serving_state: what the next run starts from and owes; None without a run.
      lineage: the models of these spans and those that they come from, oldest first.
      costs: of each day that trained, beside a full retrain.
      figures, anomalies: what TFX's statistics and validation say of the last span.
      drift_watched: whether the policy measures drift at all.
      sample_users: what some users are recommended, before the last push and after.
      disk: what lies under the pipeline root.
      k: of `recall@k`.
      few_events: a slice of fewer decides nothing.
      slices: by span the champion's next-span metrics by slice, with `events`.
      losses: of the last training whose files are there, and the span's name; None without one.
      unit: what a span's number counts.
    """

    name: str
    runs: Sequence[Run]
    judged: Run | None
    verdict: Verdict | None
    rejects: Sequence[Rejects]
    served: Sequence[Served]
    serving_state: ServingState | None = None
    lineage: Sequence[Version] = ()
    costs: Sequence[Cost] = ()
    figures: Sequence[Figure] = ()
    anomalies: Sequence[Anomaly] = ()
    drift_watched: bool = False
    sample_users: SampleUsers | None = None
    disk: DiskUse | None = None
    k: int = 20
    few_events: int = 100
    slices: Mapping[int, BySlice] = dataclasses.field(default_factory=dict)
    losses: tuple[str, Losses] | None = None
    unit: str = "day"

    @property
    def metric(self) -> str:
        """The metric that stands for quality where there is room for one."""
        return watched(dict.fromkeys(name for run in self.runs for name in (*run.next_span, *run.candidate)))


def read_report_data(config: Config, runs: Sequence[Run]) -> ReportData:
    """Reads what `runs`, oldest first, left behind."""
    store = connect(config)
    reader = LedgerReader(store, config.name)
    artifacts = {run.span: reader.artifacts(reader.run(run_id(config.name, run.name, run.revision))) for run in runs}

    def folder(run: Run | None, kind: str, having: str | None = None) -> Path | None:
        artifact = None if run is None else newest_of(artifacts[run.span], kind, run.span, having)
        return None if artifact is None else Path(artifact.uri)

    judged = next((run for run in reversed(runs) if run.verdict), None)
    lineage, present = model_lineage_in(store, config.name), versions(config.serving_path)
    served = present[-1] if present else None
    pushed = next((run for run in reversed(runs) if run.pushed is not None and run.pushed == served), None)
    latest, before = runs[-1], runs[-2] if len(runs) > 1 else None
    trainings, new_events = _trainings(reader.artifacts(reader.whole()))
    return ReportData(
        name=config.name,
        runs=runs,
        judged=judged,
        verdict=_verdict(folder(judged, "PushedModel", "verdict")),
        rejects=count_rejects([folder(run, "Examples", "rejects") for run in runs]),
        served=[_served(config.serving_path / str(version)) for version in reversed(present)],
        serving_state=read_serving_state(config),
        lineage=read_lineage(lineage, present, runs[0].span),
        costs=estimate(runs, trainings, new_events),
        figures=read_figures(folder(latest, "ExampleStatistics"), folder(before, "ExampleStatistics")),
        anomalies=read_anomalies(folder(latest, "ExampleAnomalies")),
        drift_watched=bool(config.policy.drift.columns),
        sample_users=read_sample_users(
            config,
            lineage,
            served,
            folder(pushed, "Examples", "events"),
            folder(latest, "WarmspanVocabulary", "item_rows") or newest_folder(config, "WarmspanVocabulary"),
        ),
        disk=disk_use(config),
        k=config.gate.k,
        few_events=config.gate.min_slice_events,
        slices={run.span: _slices(run, folder(run, "WarmspanNextSpanEvaluation", "events")) for run in runs},
        losses=_losses({run.name: folder(run, "Model", "version") for run in runs}),
        unit="day" if config.data.dated else "span",
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


def _trainings(artifacts: Sequence[Artifact]) -> tuple[dict[int, Training], dict[int, int]]:
    """Of every span the last training, and how many events it brought to train on."""
    trainings, new_events = {}, {}
    for artifact in artifacts:
        properties = artifact.properties
        if artifact.type == "Model" and "examples" in properties:
            seconds = properties.get("training_seconds", 0.0)
            trainings[properties["span"]] = Training(properties["examples"], seconds, properties["epochs"])
        elif artifact.type == "Examples" and "new_events" in properties:
            new_events[properties["span"]] = properties["new_events"]
    return trainings, new_events


def _slices(run: Run, folder: Path | None) -> BySlice:
    """From the ledger, or, of a span from before it had them, from the file."""
    path = None if folder is None else folder / SLICES_FILE
    if run.surroundings.slices or path is None or not path.exists():
        return run.surroundings.slices
    return json.loads(path.read_text(encoding="utf-8"))


def _losses(models: Mapping[str, Path | None]) -> tuple[str, Losses] | None:
    """Of the last model, by span, that kept them."""
    kept = {name: folder / LOSSES_FILE for name, folder in models.items() if folder is not None}
    last = next((name for name in reversed(kept) if kept[name].exists()), None)
    return None if last is None else (last, Losses.load(kept[last]))


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
