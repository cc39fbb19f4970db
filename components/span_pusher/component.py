"""TFX component: see `SpanPusher`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.types import artifact, channel, channel_utils, component_spec, standard_artifacts

from components.artifacts import PairedDifferences, set_finite
from components.incremental_trainer.artifact_files import PLACES, REFERENCE_FILE, SERVING_FOLDER
from components.paired_comparison.comparison import Comparison
from components.resolvers import refuse_revoked
from components.span_pusher.streamed_versions import locked
from components.span_pusher.verdict import BASELINE, CANDIDATE, OVERALL, Verdict, read_verdict
from components.span_pusher.version_folder import drop_old, drop_streamed, push
from components.span_pusher.version_labels import MODELS_CONFIG, read_labels
from serving.bundle.reference_answers import Reference
from serving.bundle.validation import validate


class Executor(base_executor.BaseExecutor):
    """Asks a blessed model's export and pushes it; in any case writes `verdict.json` and the verdict's sentence."""

    def Do(
        self,
        input_dict: dict[str, list[artifact.Artifact]],
        output_dict: dict[str, list[artifact.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        (model,) = input_dict["model"]
        blessed = input_dict["model_blessing"][0].get_int_custom_property("blessed") == 1
        if blessed:
            refuse_revoked(model, "pushed")
        comparisons = [Comparison.read(comparison.uri) for comparison in input_dict.get("comparison") or []]
        verdict = read_verdict(input_dict["evaluation"][0].uri, blessed, *comparisons)
        if cost := model.get_string_custom_property(PLACES):
            verdict = dataclasses.replace(verdict, sentence=f"{verdict.sentence} {cost}")
        version, served = model.get_int_custom_property("version"), Path(exec_properties["served"])
        (pushed,) = output_dict["pushed"]
        figures: dict[str, float] = {}
        if blessed:
            reference = _reference(Path(model.uri) / REFERENCE_FILE)
            validation = validate(Path(model.uri) / SERVING_FOLDER, reference, exec_properties["latency_budget_ms"])
            figures, blessed = validation.figures, not validation.refusal
            if validation.refusal:
                verdict = _not_fit(verdict, validation.refusal)
        if blessed:
            labels = read_labels(served.parent / MODELS_CONFIG, served.name)
            about = {"verdict": verdict.sentence, "metrics": _overall(verdict, CANDIDATE), "validation": figures}
            with locked(served):  # or a stream could push in between, above this one
                push(Path(model.uri) / SERVING_FOLDER, served, version, about)
                drop_streamed(served)
            drop_old(served, exec_properties["keep_versions"], labels.values())
        (Path(pushed.uri) / "verdict.json").write_text(json.dumps(dataclasses.asdict(verdict), indent=1))
        pushed.set_int_custom_property("span", exec_properties["span"])
        pushed.set_int_custom_property("version", version)
        pushed.set_int_custom_property("pushed", int(blessed))
        pushed.set_string_custom_property("pushed_version", str(version) if blessed else "")
        pushed.set_string_custom_property("verdict", verdict.sentence)
        # What the next update learns by: the verdict, and how this candidate was learned.
        pushed.set_string_custom_property("lesson", verdict.lesson)
        pushed.set_string_custom_property("against", verdict.against)
        pushed.set_int_custom_property("backoff", model.get_int_custom_property("backoff"))
        for name in ("action", "backoff_reason"):
            pushed.set_string_custom_property(name, model.get_string_custom_property(name))
        set_finite(pushed, figures)
        for of in (CANDIDATE, BASELINE):
            set_finite(pushed, {f"{of}_{name}": value for name, value in _overall(verdict, of).items()})


def _reference(path: Path) -> Reference | None:
    # A model that was trained before there was such a file has none.
    return Reference.load(path) if path.exists() else None


def _not_fit(verdict: Verdict, refusal: str) -> Verdict:
    sentence = f"Refused before the push: {refusal} The gate had said: {verdict.sentence}"
    return dataclasses.replace(verdict, blessed=False, sentence=sentence)


def _overall(verdict: Verdict, of: str) -> dict[str, float]:
    return {name: values[of] for name, values in verdict.metrics.get(OVERALL, {}).items() if of in values}


class _Spec(component_spec.ComponentSpec):
    INPUTS = {
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "model_blessing": component_spec.ChannelParameter(type=standard_artifacts.ModelBlessing),
        "evaluation": component_spec.ChannelParameter(type=standard_artifacts.ModelEvaluation),
        "comparison": component_spec.ChannelParameter(type=PairedDifferences, optional=True),
    }
    OUTPUTS = {"pushed": component_spec.ChannelParameter(type=standard_artifacts.PushedModel)}
    PARAMETERS = {
        "span": component_spec.ExecutionParameter(type=int),
        "served": component_spec.ExecutionParameter(type=str),
        "keep_versions": component_spec.ExecutionParameter(type=int),
        "latency_budget_ms": component_spec.ExecutionParameter(type=float),
    }


class SpanPusher(base_component.BaseComponent):
    """Pushes a blessed model under a version that says its day.

    Not TFX's Pusher: that one names a version by the clock, copies in place, and has no word for why not.
    """

    SPEC_CLASS = _Spec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        model: channel.BaseChannel,
        model_blessing: channel.BaseChannel,
        evaluation: channel.BaseChannel,
        span: int,
        served: str,
        keep_versions: int,
        latency_budget_ms: float,
        comparison: channel.BaseChannel | None = None,
    ) -> None:
        super().__init__(
            _Spec(
                model=model,
                model_blessing=model_blessing,
                evaluation=evaluation,
                comparison=comparison,
                pushed=channel_utils.as_channel([standard_artifacts.PushedModel()]),
                span=span,
                served=served,
                keep_versions=keep_versions,
                latency_budget_ms=latency_budget_ms,
            )
        )
