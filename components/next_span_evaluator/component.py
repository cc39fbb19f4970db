"""TFX component: see `NextSpanEvaluator`."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.types import artifact, channel, channel_utils, component_spec, standard_artifacts

from components.artifacts import NextSpanEvaluation
from components.incremental_trainer.executor import SERVING_FOLDER
from components.properties import OLDER, set_finite
from components.splits import split_files
from trainer.input import Positions, read_held_out, read_sequences
from trainer.metrics import ROOT_OF_MEAN

_BATCH = 1024


class Executor(base_executor.BaseExecutor):
    """Writes `metrics.json`: metric to mean over all of the span's events, and `events`. Empty without a champion."""

    def Do(
        self,
        input_dict: dict[str, list[artifact.Artifact]],
        output_dict: dict[str, list[artifact.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        (output,) = output_dict["evaluation"]
        champion = input_dict.get("model") or []
        metrics: dict[str, float] = {}
        if champion:
            train = read_sequences(split_files(input_dict["sequences"][0], "train")).positions(today_only=True)
            held_out, _ = read_held_out(split_files(input_dict["held_out"][0], "eval"))
            saved = tf.saved_model.load(str(Path(champion[0].uri) / SERVING_FOLDER))
            signature, length = saved.signatures["evaluate_rows"], exec_properties["history_length"]
            metrics = evaluate(signature, (train, held_out), length)
            older = {
                one.get_int_custom_property("span"): evaluate(
                    signature, (read_held_out(split_files(one, "eval"))[0],), length
                )
                for one in input_dict.get("older_held_out") or []
            }
            output.set_string_custom_property(OLDER, json.dumps(older))
            output.set_int_custom_property("champion_version", champion[0].get_int_custom_property("version"))
        (Path(output.uri) / "metrics.json").write_text(json.dumps(metrics, indent=1))
        output.set_int_custom_property("span", exec_properties["span"])
        set_finite(output, metrics)


def evaluate(signature: Any, parts: tuple[Positions, ...], history_length: int) -> dict[str, float]:
    """The `evaluate_rows` signature's metrics averaged over all positions, and `events`, their number."""
    totals: dict[str, float] = {}
    events = 0
    for positions in parts:
        events += len(positions)
        for batch in positions.dataset(_BATCH, history_length):
            for name, value in signature(**batch).items():
                totals[name] = totals.get(name, 0.0) + float(np.sum(value.numpy(), dtype=np.float64))
    means = {name: total / events for name, total in totals.items()}
    roots = {name: math.sqrt(mean) for name, mean in means.items() if name in ROOT_OF_MEAN}
    return {"events": float(events), **means, **roots}


class _Spec(component_spec.ComponentSpec):
    INPUTS = {
        "sequences": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "held_out": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model, optional=True),
        "older_held_out": component_spec.ChannelParameter(type=standard_artifacts.Examples, optional=True),
    }
    OUTPUTS = {"evaluation": component_spec.ChannelParameter(type=NextSpanEvaluation)}
    PARAMETERS = {
        "span": component_spec.ExecutionParameter(type=int),
        "history_length": component_spec.ExecutionParameter(type=int),
    }


class NextSpanEvaluator(base_component.BaseComponent):
    """The champion's metrics on every event of a span that it has not seen.

    Not TFX's Evaluator: that one can't run without a model, which is the first day's case, and takes as long as the
    rest of the day's evaluation; this one asks the served graph in batches. The champion is tested on the held-out
    events of older spans as well, where they are given.
    """

    SPEC_CLASS = _Spec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        sequences: channel.BaseChannel,
        held_out: channel.BaseChannel,
        model: channel.BaseChannel,
        span: int,
        history_length: int,
        older_held_out: channel.BaseChannel | None = None,
    ) -> None:
        super().__init__(
            _Spec(
                sequences=sequences,
                held_out=held_out,
                model=model,
                older_held_out=older_held_out,
                evaluation=channel_utils.as_channel([NextSpanEvaluation()]),
                span=span,
                history_length=history_length,
            )
        )
