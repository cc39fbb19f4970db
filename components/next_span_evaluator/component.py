"""TFX component: see `NextSpanEvaluator`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.types import artifact, channel, channel_utils, component_spec, standard_artifacts

from components import loaded_bundles
from components.artifacts import OLDER, Catalogue, NextSpanEvaluation, Vocabulary, set_finite, split_files
from components.catalogue_gen.state import load_table
from components.next_span_evaluator.rows_asked import rows_asked
from components.next_span_evaluator.shelf import shelf_of
from components.next_span_evaluator.slices import (
    EVENTS_COLUMN,
    by_slice,
    counts_before,
    events_before,
    trained_before,
)
from components.next_span_evaluator.surroundings import surroundings_of
from components.surroundings import SURROUNDINGS, Surroundings
from trainer import vocabulary as lookup
from trainer.held_out_parts import VERDICT, held_out_files
from trainer.input_pipeline import Positions, read_held_out, read_sequences
from trainer.metric_aggregation import levels
from trainer.progress import report
from trainer.row_numbers import Numbering

SLICES_FILE = "slices.json"
_BATCH = 1024


class Executor(base_executor.BaseExecutor):
    """Writes `metrics.json`: metric to mean over all of the span's events, and `events`. Empty without a champion.

    `slices.json` holds the same by slice; the property `surroundings` what else they are to be seen beside.
    """

    def Do(
        self,
        input_dict: dict[str, list[artifact.Artifact]],
        output_dict: dict[str, list[artifact.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        (output,) = output_dict["evaluation"]
        champion = input_dict.get("model") or []
        metrics: dict[str, float] = {}
        slices: dict[str, dict[str, float]] = {}
        if champion:
            sequences = read_sequences(split_files(input_dict["sequences"][0], "train"))
            held_out, of_held_out = read_held_out(held_out_files(input_dict["held_out"][0].uri))
            parts = sequences.positions(today_only=True), held_out
            saved = loaded_bundles.load(champion[0].uri)
            loaded_bundles.leave_if_small(champion[0].uri, saved)
            signature, length = saved.signatures["evaluate_rows"], exec_properties["history_length"]
            weighted = bool(exec_properties.get("weighted"))
            values = per_position(signature, parts, length)
            weights = event_weights(parts, weighted)
            metrics = means(values, weights)
            shelf: dict[str, float] = {}
            if vocabulary := input_dict.get("vocabulary"):
                # From here on over the rows of the span's vocabulary.
                items, keys = (lookup.Vocabulary.load(vocabulary[0].uri, name) for name in ("items", "keys"))
                numbering = Numbering(items.row_numbers, keys.row_numbers)
                sequences, held_out = sequences.in_rows(numbering), held_out.in_rows(numbering)
                train = sequences.positions(today_only=True)
                of_train = trained_before(sequences, train, vocabulary[0].uri, exec_properties["cold_below"])
                labels = {name: np.concatenate([of_train[name], of_held_out[name]]) for name in of_train}
                if catalogue := input_dict.get("catalogue"):
                    before = counts_before(items, sequences.positions().target)
                    labels[EVENTS_COLUMN] = events_before(before, np.concatenate([train.target, held_out.target]))
                    if exec_properties.get("k"):
                        table, rank = load_table(catalogue[0].uri), saved.signatures["rank"]
                        assert table is not None
                        shelf = shelf_of(
                            rank, (train, held_out), table, items, keys, before, length, exec_properties["k"]
                        )
                slices = by_slice(
                    labels,
                    lambda here: means({name: values_of[here] for name, values_of in values.items()}, weights[here]),
                )
            surroundings = Surroundings()
            if vocabulary and exec_properties.get("k") and len(weights):
                surroundings = surroundings_of(
                    values,
                    (train, held_out),
                    sequences,
                    vocabulary[0].uri,
                    weights,
                    saved.signatures.get("serving_default"),
                    length,
                    exec_properties["k"],
                    bool(exec_properties.get("exclude_seen")),
                )
            output.set_string_custom_property(
                SURROUNDINGS, dataclasses.replace(surroundings, slices=slices, shelf=shelf).to_json()
            )
            older = {
                examples.get_int_custom_property("span"): evaluate(
                    signature, (read_held_out(held_out_files(examples.uri, VERDICT))[0],), length, weighted
                )
                for examples in input_dict.get("older_held_out") or []
            }
            output.set_string_custom_property(OLDER, json.dumps(older))
            output.set_int_custom_property("champion_version", champion[0].get_int_custom_property("version"))
        (Path(output.uri) / "metrics.json").write_text(json.dumps(metrics, indent=1))
        (Path(output.uri) / SLICES_FILE).write_text(json.dumps(slices, indent=1, sort_keys=True))
        output.set_int_custom_property("span", exec_properties["span"])
        set_finite(output, metrics)


def evaluate(signature: Any, parts: tuple[Positions, ...], history_length: int, weighted: bool) -> dict[str, float]:
    """The `evaluate_rows` signature's metrics averaged over all positions, and `events`, their number.

    `weighted`: whether events count by their weights (see `Recommender.weight_role`).
    """
    return means(per_position(signature, parts, history_length), event_weights(parts, weighted))


def event_weights(parts: tuple[Positions, ...], weighted: bool) -> np.ndarray:
    """How much each position counts, float64 [p]: its weight, those below 0 taken for 0, or 1."""
    weights = np.concatenate([positions.weight for positions in parts]).astype(np.float64)
    return np.maximum(weights, 0.0) if weighted else np.ones_like(weights)


def per_position(signature: Any, parts: tuple[Positions, ...], history_length: int) -> dict[str, np.ndarray]:
    """What the `evaluate_rows` signature says of each position, float64 [p] a metric."""
    by_metric: dict[str, list[np.ndarray]] = {}
    total, done = sum(map(len, parts)), 0
    for positions in parts:
        for batch in positions.dataset(_BATCH, history_length):
            for name, value in signature(**rows_asked(signature, batch)).items():
                by_metric.setdefault(name, []).append(np.asarray(value.numpy(), np.float64))
            done += len(batch["item"])
            report("events scored", done, total)
    return {name: np.concatenate(values) for name, values in by_metric.items()}


def means(values: dict[str, np.ndarray], weights: np.ndarray) -> dict[str, float]:
    """`events`, the number of positions, and what each metric comes to by `weights` [p]: its mean, as a rule.

    A metric that is not defined on these positions is left out.
    """
    return {"events": float(len(weights)), **levels(values, weights)}


class _Spec(component_spec.ComponentSpec):
    INPUTS = {
        "sequences": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "held_out": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model, optional=True),
        "older_held_out": component_spec.ChannelParameter(type=standard_artifacts.Examples, optional=True),
        "vocabulary": component_spec.ChannelParameter(type=Vocabulary, optional=True),
        "catalogue": component_spec.ChannelParameter(type=Catalogue, optional=True),
    }
    OUTPUTS = {"evaluation": component_spec.ChannelParameter(type=NextSpanEvaluation)}
    PARAMETERS = {
        "span": component_spec.ExecutionParameter(type=int),
        "history_length": component_spec.ExecutionParameter(type=int),
        "cold_below": component_spec.ExecutionParameter(type=int, optional=True),
        "weighted": component_spec.ExecutionParameter(type=int, optional=True),
        "k": component_spec.ExecutionParameter(type=int, optional=True),
        "exclude_seen": component_spec.ExecutionParameter(type=int, optional=True),
    }


class NextSpanEvaluator(base_component.BaseComponent):
    """The champion's metrics on every event of a span that it has not seen.

    Not TFX's Evaluator: that one can't run without a model, which is the first day's case, and takes as long as the
    rest of the day's evaluation; this one asks the served graph in batches. Where older spans are given the champion is
    tested on their verdict parts as well, as the gate tested then. With the span's `vocabulary` the figures come by
    slice too: new, cold (trained on less often than `cold_below`) and warm items and keys, as the gate has them. With
    `weighted` its metrics are means by the events' weights, as the gate's are. With `k` as well, the length of a list,
    it measures what was most popular before the span on the same events, bounds of both, and what is recommended to
    the span's users (`surroundings.py`). With the `catalogue` the figures come by how many events an item had before,
    too, and with `k` of the shelf (`shelf.py`).
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
        vocabulary: channel.BaseChannel | None = None,
        cold_below: int | None = None,
        weighted: bool = False,
        k: int | None = None,
        exclude_seen: bool | None = None,
        catalogue: channel.BaseChannel | None = None,
    ) -> None:
        super().__init__(
            _Spec(
                sequences=sequences,
                held_out=held_out,
                model=model,
                older_held_out=older_held_out,
                vocabulary=vocabulary,
                catalogue=catalogue,
                evaluation=channel_utils.as_channel([NextSpanEvaluation()]),
                span=span,
                history_length=history_length,
                cold_below=cold_below,
                weighted=1 if weighted else None,  # of what was asked before there were weights nothing changes
                k=k,
                exclude_seen=1 if exclude_seen else None,
            )
        )
