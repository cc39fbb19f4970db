"""What the nodes of a run left behind beyond the ledger: figures by slice, the model's health, bytes."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tensorflow_metadata.proto.v0 import anomalies_pb2

from components.incremental_trainer.artifact_files import HEALTH_FILE
from components.next_span_evaluator.component import SLICES_FILE
from components.update_decider.policy import SIGNALS_FILE
from pipeline.config import Config
from pipeline.ledger.reader import Artifact, LedgerReader
from pipeline.ledger.runs import Run, run_id
from pipeline.metadata_store.connection import open_store
from trainer.diagnostics import Diagnostics

_MODEL = {"train_loss": "loss", "watched": "held_out", "examples": "examples", "epochs": "epochs"}

Artifacts = dict[tuple[str, str], list[Artifact]]
ByMetric = Mapping[str, Mapping[str, float]]


@dataclasses.dataclass(frozen=True)
class Details:
    """What the ledger has no room for. What a run did not come to is empty or None.

    Attributes:
      verdict: `verdict.json` as it is: `metrics`, `events` and `intervals` by slice.
      next_span: by slice the champion's metrics on the new span, and `events`.
      health: of the trained model.
      drift: of each column and measure that the policy looks at, the distance to the nearest of the spans before.
      anomalies: what ExampleValidator found, in all splits.
      owed: how many spans the champion had not learned at the end of the run.
      update: `loss`, `held_out`, `examples`, `epochs` of the training.
      bytes: what each node wrote, as `seconds` of the ledger names the nodes.
      model, vocabulary: folders of what the run made.
    """

    verdict: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    next_span: ByMetric = dataclasses.field(default_factory=dict)
    health: Diagnostics | None = None
    drift: Mapping[str, float] = dataclasses.field(default_factory=dict)
    anomalies: int | None = None
    owed: int | None = None
    update: Mapping[str, float] = dataclasses.field(default_factory=dict)
    bytes: Mapping[str, int] = dataclasses.field(default_factory=dict)
    model: Path | None = None
    vocabulary: Path | None = None


def read_details(config: Config, run: Run) -> Details:
    """Reads what `run` left behind; needs no model, and asks none."""
    store = open_store(config)
    if store is None:
        return Details()
    taken, made = _events(LedgerReader(store, config.name), run_id(config.name, run.name, run.revision))
    model = _folder(made, "IncrementalTrainer", "model")
    signals = _json(_folder(made, "UpdateDecider", "decision"), SIGNALS_FILE)
    health = None if model is None else model / HEALTH_FILE
    return Details(
        verdict=_json(_folder(made, "SpanPusher", "pushed"), "verdict.json"),
        next_span=_json(_folder(made, "NextSpanEvaluator", "evaluation"), SLICES_FILE),
        health=Diagnostics.load(health) if health is not None and health.exists() else None,
        drift={f"{column}_{measure}": value for column, measure, value in signals.get("drift", ())},
        anomalies=_anomalies(_folder(made, "ExampleValidator", "anomalies")),
        owed=_owed(run, taken),
        update=_update(made.get(("IncrementalTrainer", "model"), [])),
        bytes=_bytes(made),
        model=model,
        vocabulary=_folder(made, "SpanTransform", "vocabulary"),
    )


def _events(reader: LedgerReader, run_id_: str) -> tuple[Artifacts, Artifacts]:
    """What the run's nodes took and made, by node and the name that the node has for it."""
    context = reader.run(run_id_)
    nodes = {execution.id: execution.node for execution in reader.executions(context) if execution.done}
    artifacts = {artifact.id: artifact for artifact in reader.artifacts(context)}
    taken: Artifacts = {}
    made: Artifacts = {}
    for event in reader.events_of_executions(nodes):
        into = made if event.made else taken
        into.setdefault((nodes[event.execution], event.key), []).append(artifacts[event.artifact])
    return taken, made


def _folder(made: Artifacts, node: str, key: str) -> Path | None:
    folder = made.get((node, key))
    return Path(folder[-1].uri) if folder else None


def _json(folder: Path | None, name: str) -> dict[str, Any]:
    path = None if folder is None else folder / name
    return json.loads(path.read_text(encoding="utf-8")) if path is not None and path.exists() else {}


def _anomalies(folder: Path | None) -> int | None:
    files = [] if folder is None else sorted(folder.glob("Split-*/SchemaDiff.pb"))
    if not files:
        return None
    anomalies = [anomalies_pb2.Anomalies.FromString(file.read_bytes()) for file in files]
    return sum(len(anomaly.anomaly_info) + anomaly.HasField("dataset_anomaly_info") for anomaly in anomalies)


def _owed(run: Run, taken: Artifacts) -> int | None:
    if run.pushed is not None:
        return 0
    champion = taken.get(("UpdateDecider", "model"))
    if run.state != "done" or not champion:
        return None
    before = taken.get(("UpdateDecider", "past_sequences"), [])
    return 1 + len({artifact.span for artifact in before if (artifact.span or 0) > (champion[-1].span or 0)})


def _update(models: list[Artifact]) -> dict[str, float]:
    properties = models[-1].properties if models else {}
    return {name: float(properties[key]) for key, name in _MODEL.items() if key in properties}


def _bytes(made: Artifacts) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for (node, _), artifacts in made.items():
        size = sum(
            file.stat().st_size for artifact in artifacts for file in Path(artifact.uri).rglob("*") if file.is_file()
        )
        sizes[node] = sizes.get(node, 0) + size
    return sizes
