"""TFX component: see `PairedComparison`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.types import artifact, channel, channel_utils, component_spec, standard_artifacts

from components import loaded_bundles
from components.artifacts import PairedDifferences
from components.paired_comparison.anchor import Anchor, carried, next_anchor
from components.paired_comparison.comparison import ANCHOR_FILE, CHAMPION_FILE, Comparison
from components.paired_comparison.differences import Differences
from components.paired_comparison.judgement import OVERALL, Judgement, Rules, judge
from components.paired_comparison.retention import OlderSpan, retention_on
from components.paired_comparison.scoring import Events
from trainer.held_out_parts import VERDICT, held_out_files
from trainer.metric_aggregation import levels

_SIGNATURE = "evaluate_rows"


class Executor(base_executor.BaseExecutor):
    """Writes `comparison.json`, and the differences that it comes from as `champion.npz` and `anchor.npz`."""

    def Do(
        self,
        input_dict: dict[str, list[artifact.Artifact]],
        output_dict: dict[str, list[artifact.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        ((candidate,), (output,)) = input_dict["model"], output_dict["comparison"]
        rules, span = Rules.from_json(exec_properties["rules"]), exec_properties["span"]
        version = candidate.get_int_custom_property("version")
        comparison = _compare(rules, span, version, input_dict, output, exec_properties)
        comparison.write(output.uri)
        output.set_int_custom_property("span", span)
        output.set_int_custom_property("version", version)
        output.set_int_custom_property("refused", int(comparison.judgement.refused))
        output.set_int_custom_property("anchor", comparison.anchor.version if comparison.anchor else 0)
        output.set_int_custom_property("next_anchor", comparison.following.version)


def _compare(
    rules: Rules,
    span: int,
    version: int,
    input_dict: dict[str, list[artifact.Artifact]],
    output: artifact.Artifact,
    exec_properties: dict[str, Any],
) -> Comparison:
    how = exec_properties["oov_rows"], exec_properties["history_length"], bool(exec_properties.get("weighted"))
    tonight = Events(held_out_files(input_dict["held_out"][0].uri, VERDICT), *how)
    models = [input_dict["model"][0].uri, *(model.uri for model in (input_dict.get("champion") or [])[:1])]
    bundles = {uri: loaded_bundles.load(uri) for uri in models}
    loaded_bundles.leave(bundles)  # TFMA evaluates them next
    candidate, *in_service = (bundle.signatures[_SIGNATURE] for bundle in bundles.values())
    ours = tonight.score(candidate)
    own = levels(ours, tonight.weights)
    if not in_service:
        return Comparison(rules, Judgement(), None, Anchor(version, span), levels=own)
    (champion, *_), nights = input_dict["champion"], input_dict.get("comparisons") or []
    anchor, model = _anchor(champion, input_dict.get("anchor") or [], nights)
    (of_champion,) = in_service
    against_champion = tonight.gains(ours, tonight.score(of_champion), rules.lower_is_better)
    against_champion.save(Path(output.uri) / CHAMPION_FILE)
    against_anchor = against_champion
    if model is not champion and rules.budget is not None:
        of_anchor = loaded_bundles.load(model.uri).signatures[_SIGNATURE]
        against_anchor = tonight.gains(ours, tonight.score(of_anchor), rules.lower_is_better)
        against_anchor.save(Path(output.uri) / ANCHOR_FILE)
    before = [night for night in nights if night.get_int_custom_property("anchor") == anchor.version]
    older = [] if rules.retention is None else _older(input_dict.get("older_held_out") or [], nights)
    retention = retention_on(older, candidate, of_champion, *how, rules.lower_is_better)
    judgement = judge(
        rules,
        against_champion,
        [against_anchor, *map(_differences, reversed(before))],
        anchor.carried,
        retention.gains,
        retention.unlearned,
    )
    line = {name: finding.gain for name, finding in judgement.anchor.items()}
    metric = next(iter(rules.max_drop.get(OVERALL, {})), "")
    following = next_anchor(anchor, version, span, line, metric, rules.anchor_spans)
    return Comparison(rules, judgement, anchor, following, carried(anchor, line), retention.spans, own)


def _older(held_out: list[artifact.Artifact], nights: list[artifact.Artifact]) -> list[OlderSpan]:
    """The spans before whose nights have left what their model had on them; those of earlier versions have not."""
    left = {night.get_int_custom_property("span"): Comparison.read(night.uri).levels for night in nights}
    spans = [(of, left.get(of.get_int_custom_property("span"))) for of in held_out]
    return [OlderSpan(held_out_files(of.uri, VERDICT), own) for of, own in spans if own]


def _anchor(
    champion: artifact.Artifact, models: list[artifact.Artifact], nights: list[artifact.Artifact]
) -> tuple[Anchor, artifact.Artifact]:
    """Tonight's anchor and its model: what the champion's own night left for this one."""
    version = champion.get_int_custom_property("version")
    span = champion.get_int_custom_property("span")
    own = [night for night in nights if night.get_int_custom_property("version") == version]
    if not own:  # pushed before there were anchors
        return Anchor(version, span), champion
    left = Comparison.read(own[-1].uri)
    if left.following.version == version:
        return left.following, champion
    for model in models:
        if model.get_int_custom_property("version") == left.following.version:
            return left.following, model
    return Anchor(version, span, left.if_gone), champion


def _differences(night: artifact.Artifact) -> Differences:
    """Those over the anchor, which may have been the champion."""
    path = Path(night.uri) / ANCHOR_FILE
    return Differences.load(path if path.exists() else path.with_name(CHAMPION_FILE))


class _Spec(component_spec.ComponentSpec):
    INPUTS = {
        "held_out": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "champion": component_spec.ChannelParameter(type=standard_artifacts.Model, optional=True),
        "anchor": component_spec.ChannelParameter(type=standard_artifacts.Model, optional=True),
        "comparisons": component_spec.ChannelParameter(type=PairedDifferences, optional=True),
        "older_held_out": component_spec.ChannelParameter(type=standard_artifacts.Examples, optional=True),
    }
    OUTPUTS = {"comparison": component_spec.ChannelParameter(type=PairedDifferences)}
    PARAMETERS = {
        "span": component_spec.ExecutionParameter(type=int),
        "history_length": component_spec.ExecutionParameter(type=int),
        "oov_rows": component_spec.ExecutionParameter(type=int),
        "weighted": component_spec.ExecutionParameter(type=int),
        "rules": component_spec.ExecutionParameter(type=str),
    }


class PairedComparison(base_component.BaseComponent):
    """Compares the candidate, event by event, with the champion and with the anchor.

    On the verdict part of the span, which neither has seen; and with the champion on spans that both have learned. What
    comes of it the gate takes into its blessing.

    Args:
      held_out: of this span, from `SpanTransform`.
      model: the candidate.
      champion: the model in service; may resolve to nothing.
      anchor: see `components.resolvers.Anchor`, as `comparisons` and `older_held_out`.
      span: the span's number.
      history_length: events of a history.
      oov_rows: rows that keys without a row of their own share.
      weighted: whether events count by their weights.
      rules: see `Rules`.
    """

    SPEC_CLASS = _Spec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        held_out: channel.BaseChannel,
        model: channel.BaseChannel,
        champion: channel.BaseChannel,
        anchor: channel.BaseChannel,
        comparisons: channel.BaseChannel,
        older_held_out: channel.BaseChannel,
        span: int,
        history_length: int,
        oov_rows: int,
        weighted: bool,
        rules: Rules,
    ) -> None:
        super().__init__(
            _Spec(
                held_out=held_out,
                model=model,
                champion=champion,
                anchor=anchor,
                comparisons=comparisons,
                older_held_out=older_held_out,
                comparison=channel_utils.as_channel([PairedDifferences()]),
                span=span,
                history_length=history_length,
                oov_rows=oov_rows,
                weighted=int(weighted),
                rules=rules.to_json(),
            )
        )
