"""A pipeline root whose days were never run: ML Metadata, model artifacts and served folder made directly."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2 as mlmd

from components.span_pusher.version_folder import push
from pipeline.config import Config
from pipeline.ledger.runs import run_id
from pipeline.metadata_store.connection import connection_config
from pipeline.operations.rollback import BUNDLE_FOLDER
from pipeline.spans import Naming
from tests.components.folder_changes import make_bundle
from tests.pipeline.conftest import settings

DAYS = Naming(dated=True)


class MadeStore:
    """Days of one pipeline, each of them what its nodes would have left behind."""

    def __init__(self, base: Path, make: Callable[[Path, str], Any] = make_bundle, name: str = "shop") -> None:
        base.mkdir(parents=True, exist_ok=True)
        self.config: Config = settings(base).model_copy(update={"name": name})
        self._make = make
        self.store = metadata_store.MetadataStore(connection_config(self.config))
        self._memories: dict[int, int] = {}
        self._models: dict[int, int] = {}
        self._pipeline = self._context("pipeline", name)

    def day(
        self,
        name: str,
        base: int | None = None,
        *,
        revision: int = 1,
        blessed: bool | None = True,
        pushed: bool = True,
        fit: bool = True,
        action: str = "fine_tune",
        exemplars: int = 0,
        train_on: Sequence[int] = (),
        champion: int | None = None,
        lesson: str = "",
        backoff: int = 0,
        taught_by: Sequence[int] = (),
    ) -> int:
        """One day of which a model came; returns its version.

        Args:
          name: the span.
          base: version of the champion that it began with.
          revision: of the span.
          blessed: the gate's verdict; None if it was cut off before.
          pushed: whether the pusher ran to its end; the folder has the version then.
          fit: whether the bundle passed when it was asked before the push.
          action: `fine_tune` takes the champion's weights, `retrain` and `cold_start` do not.
          exemplars: size of the replay memory that was made with the model.
          train_on: spans of the decision.
          champion: not used up by the training but resolved, for a day that was cut off before its training.
          lesson: what the verdict says of the learning, of a candidate learned under so much `backoff`.
          taught_by: versions of the runs in which its teacher learned.
        """
        span = DAYS.parse(name)
        version = DAYS.version(span, revision)
        contexts = [self._pipeline, self._context("pipeline_run", run_id(self.config.name, name, revision))]
        taken = [] if base is None else [("base_model", self._models[base]), ("base_memory", self._memories[base])]
        resolved = [("model", self._models[start]) for start in (base, champion) if start is not None]
        self._run("tfx.dsl.components.common.resolver.Resolver", contexts, [], resolved, mlmd.Event.INTERNAL_OUTPUT)
        trained_on = json.dumps(list(train_on or [span]))
        decided = {"span": span, "action": action, "reason": "As told.", "train_on": trained_on}
        self._make_one("SpanTransform", contexts, [], "Examples", {"span": span, "new_events": 9}, "sequences")
        self._make_one("UpdateDecider", contexts, [], "WarmspanDecision", decided, "decision")
        folder = self.config.artifacts_path / "IncrementalTrainer" / "model" / str(version)
        self._make(folder / BUNDLE_FOLDER, f"model {version}")
        about = {"span": span, "version": version, "parent": base or 0 if action == "fine_tune" else 0}
        taught = {"taught_by": json.dumps(list(taught_by))} if taught_by else {}
        model = self._artifact("Model", about | taught, str(folder))
        memory = self._artifact("WarmspanReplayMemory", {**about, "sequences": exemplars})
        self._run("IncrementalTrainer", contexts, taken, [("model", model), ("memory", memory)])
        self._models[version], self._memories[version] = model, memory
        if blessed is not None:
            verdict = {"current_model_id": model, "blessed": int(blessed)}
            self._make_one("Gate", contexts, [("model", model)], "ModelBlessing", verdict, "blessing")
        if blessed is not None and pushed:
            out = blessed and fit
            outcome = {
                "span": span,
                "version": version,
                "pushed": int(out),
                "pushed_version": str(version) if out else "",
            }
            learned = {"lesson": lesson, "against": "retention", "action": action, "backoff": backoff}
            properties = {**outcome, **learned, "verdict": f"Verdict on {version}.", "candidate_recall": 0.5}
            self._make_one("SpanPusher", contexts, [("model", model)], "PushedModel", properties, "pushed")
            if out:
                extra = {"verdict": f"Verdict on {version}.", "metrics": {"recall": 0.5}}
                push(folder / BUNDLE_FOLDER, self.config.serving_path, version, extra)
        return version

    def teacher(self, name: str, refreshed: bool) -> Path:
        """The teacher of a day, whose folder has a state where it learned; returns that folder."""
        span = DAYS.parse(name)
        contexts = [self._pipeline, self._context("pipeline_run", run_id(self.config.name, name, 1))]
        folder = self.config.artifacts_path / "TeacherTrainer" / "teacher" / str(span)
        (folder / "state").mkdir(parents=True) if refreshed else folder.mkdir(parents=True)
        teacher = self._artifact("WarmspanTeacher", {"span": span, "refreshed": int(refreshed)}, str(folder))
        self._run("TeacherTrainer", contexts, [], [("teacher", teacher)])
        return folder

    def tuned(self, name: str) -> Path:
        """The tuned encoder of a day; returns its folder."""
        span = DAYS.parse(name)
        contexts = [self._pipeline, self._context("pipeline_run", run_id(self.config.name, name, 1))]
        folder = self.config.artifacts_path / "EncoderTuner.title" / "tuned" / str(span)
        folder.mkdir(parents=True)
        about: dict[str, Any] = {"text": "title", "method": "lora", "revision": "", "reason": "As the test says."}
        about |= {"positions": 9, "learned_spans": 1, "published": 0}
        tuned = self._artifact(
            "WarmspanTunedEncoder", {**about, "span": span, "version": DAYS.version(span, 1)}, str(folder)
        )
        self._run("EncoderTuner.title", contexts, [], [("tuned", tuned)])
        return folder

    def held(self, name: str, revision: int = 1, fingerprint: str = "") -> None:
        """A day that the guard holds."""
        span = DAYS.parse(name)
        contexts = [self._pipeline, self._context("pipeline_run", run_id(self.config.name, name, revision))]
        counts = {"span": span, "rows": 9, "events": 9, "rejects": 0, "input_fingerprint": fingerprint}
        folder = str(self.config.artifacts_path)
        events = self._artifact("Examples", counts, f"{folder}/SpanExampleGen/examples/{span}")
        self._run("SpanExampleGen", contexts, [], [("examples", events)])
        for kind in ("SpanExampleGen/examples", "SpanGuard/profile"):
            (self.config.artifacts_path / kind / str(span)).mkdir(parents=True, exist_ok=True)
        about = {"span": span, "held": 1, "reason": "events 9: usual 400 to 500", "files": fingerprint}
        profile = self._artifact("WarmspanSpanProfile", about, f"{folder}/SpanGuard/profile/{span}")
        self._run("SpanGuard", contexts, [], [("profile", profile)])

    def chain(self, days: int, **given: Any) -> list[int]:
        """Days from 2024-05-01 on, each fine-tuned from the one before; returns their versions."""
        made: list[int] = []
        for day in range(1, days + 1):
            made.append(self.day(f"2024-05-{day:02d}", made[-1] if made else None, **given))
        return made

    def unfinished(self, node: str) -> int:
        """An attempt at a node that was killed; returns its id."""
        type_id = self.store.put_execution_type(mlmd.ExecutionType(name=f"components.of.{node}"))
        killed = mlmd.Execution(type_id=type_id, last_known_state=mlmd.Execution.RUNNING)
        return self.store.put_execution(killed, [], [self._pipeline])[0]

    def model(self, version: int) -> mlmd.Artifact:
        (artifact,) = self.store.get_artifacts_by_id([self._models[version]])
        return artifact

    def revoked(self) -> dict[int, str]:
        """Version to reason of every model that is revoked in ML Metadata."""
        models = {version: self.model(version).custom_properties for version in self._models}
        return {version: of["revoked_reason"].string_value for version, of in models.items() if of["revoked"].int_value}

    def _context(self, kind: str, name: str) -> mlmd.Context:
        type_id = self.store.put_context_type(mlmd.ContextType(name=kind))
        context = self.store.get_context_by_type_and_name(kind, name)
        if context is None:
            self.store.put_contexts([mlmd.Context(type_id=type_id, name=name)])
        return self.store.get_context_by_type_and_name(kind, name)

    def _artifact(self, kind: str, properties: dict[str, Any], uri: str = "") -> int:
        type_id = self.store.put_artifact_type(mlmd.ArtifactType(name=kind))
        artifact = mlmd.Artifact(type_id=type_id, uri=uri, state=mlmd.Artifact.LIVE)
        for name, value in properties.items():
            field = {int: "int_value", float: "double_value", str: "string_value"}[type(value)]
            setattr(artifact.custom_properties[name], field, value)
        return self.store.put_artifacts([artifact])[0]

    def _make_one(
        self, node: str, contexts: list, inputs: list, kind: str, properties: dict[str, Any], key: str
    ) -> None:
        self._run(node, contexts, inputs, [(key, self._artifact(kind, properties))])

    def _run(self, node: str, contexts: list, inputs: list, outputs: list, output: int = mlmd.Event.OUTPUT) -> None:
        name = node if "." in node else f"components.of.{node}"
        type_id = self.store.put_execution_type(mlmd.ExecutionType(name=name))
        execution = mlmd.Execution(type_id=type_id, last_known_state=mlmd.Execution.COMPLETE)
        events = [(mlmd.Event.INPUT, *channel) for channel in inputs] + [(output, *channel) for channel in outputs]
        pairs = []
        for kind, key, artifact in events:
            event = mlmd.Event(type=kind, artifact_id=artifact)
            event.path.steps.add().key = key
            event.path.steps.add().index = 0
            pairs.append((self.store.get_artifacts_by_id([artifact])[0], event))
        self.store.put_execution(execution, pairs, contexts)
