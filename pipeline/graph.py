"""The daily loop, as one picture."""

from __future__ import annotations

from typing import Any

from tfx.components.example_validator.component import ExampleValidator
from tfx.components.schema_gen.import_schema_gen.component import ImportSchemaGen
from tfx.dsl.components.common.resolver import Resolver
from tfx.dsl.experimental.conditionals.conditional import Cond
from tfx.orchestration import pipeline
from tfx.types import standard_artifacts
from tfx.types.artifact import Artifact
from tfx.types.channel import Channel
from tfx.types.channel_utils import union

from components.artifacts import (
    Catalogue,
    ItemEncodings,
    KeyHistory,
    PairedDifferences,
    ReplayMemory,
    SpanProfile,
    Teacher,
    TunedEncoder,
    Vocabulary,
)
from components.catalogue_gen import CatalogueGen
from components.encoder_tuner import EncoderTuner
from components.gate import Gate
from components.incremental_trainer import IncrementalTrainer
from components.item_encoder import ItemEncoder
from components.next_span_evaluator import NextSpanEvaluator
from components.paired_comparison import PairedComparison
from components.resolvers import Anchor, Champion, PastProfiles, PreviousState
from components.span_example_gen import SpanExampleGen
from components.span_guard import SpanGuard
from components.span_pusher import SpanPusher
from components.span_statistics import SpanStatistics
from components.span_transform import SpanTransform
from components.teacher_trainer import TeacherTrainer
from components.update_decider import UpdateDecider
from components.update_decider.decision import Override
from pipeline.config import Config
from pipeline.metadata_store import connection
from pipeline.parameters import policy_channels
from pipeline.parameters.comparison_rules import comparison_rules
from pipeline.parameters.eval_config import eval_config
from pipeline.parameters.event_schema import write_schema
from pipeline.parameters.graph_parameters import GraphParameters
from pipeline.parameters.look_back import PAST_SPANS
from pipeline.spans import Naming
from trainer.held_out_parts import VERDICT


def create_pipeline(
    config: Config, span: int, revision: int = 1, override: Override | None = None
) -> pipeline.Pipeline:
    """One day of one recommender.

    Args:
      config: settings.
      span: the span's number.
      revision: counts the runs of this span, from 1; a part of the pushed version.
      override: what is done with the span instead of what the policy decides.
    """
    version = Naming(config.data.dated).version(span, revision)
    given = GraphParameters.of(config)

    # The day's files become clean events, the last of them held out.
    events = SpanExampleGen(str(config.data.path), given.data, span, config.data.pattern, config.split.eval_fraction)
    statistics = SpanStatistics(examples=events.outputs["examples"]).with_id("StatisticsGen")
    schema = ImportSchemaGen(schema_file=str(write_schema(config)))
    validator = ExampleValidator(statistics=statistics.outputs["statistics"], schema=schema.outputs["schema"])

    # A day that does not look like those before it is held: what follows is not run, until a person releases it.
    profiles = _earlier(SpanProfile, "SpanGuard", "profile")
    usual = Resolver(
        strategy_class=PastProfiles,
        config={"span": span, "most": config.guard.spans},
        past=profiles,
        released=profiles,
    ).with_id("Usual")
    guard = SpanGuard(
        examples=events.outputs["examples"],
        anomalies=validator.outputs["anomalies"],
        past=usual.outputs["past"],
        released=usual.outputs["released"],
        span=span,
        dated=config.data.dated,
        rules=given.guard,
    )

    # What earlier days have left: their state, the model in service, what it may owe, and what it may not lose.
    yesterday = Resolver(
        strategy_class=PreviousState,
        config={"span": span, "pipeline": config.name},
        vocabulary=_earlier(Vocabulary, "SpanTransform", "vocabulary"),
        history=_earlier(KeyHistory, "SpanTransform", "history"),
        **({"catalogue": _earlier(Catalogue, "CatalogueGen", "catalogue")} if given.catalogue else {}),
        **{f"encodings_{text}": _earlier(ItemEncodings, _encoder(text), "encodings") for text in given.encoders},
        **{f"tuned_{text}": _earlier(TunedEncoder, _tuner(text), "tuned") for text in given.tuners},
    ).with_id("Yesterday")
    models = {
        "model": _earlier(standard_artifacts.Model, "IncrementalTrainer", "model"),
        "model_blessing": _earlier(standard_artifacts.ModelBlessing, "Evaluator", "blessing"),
        "verdicts": _earlier(standard_artifacts.PushedModel, "SpanPusher", "pushed"),
    }
    owed = {
        "past_held_out": _earlier(standard_artifacts.Examples, "SpanTransform", "held_out"),
        "past_vocabularies": _earlier(Vocabulary, "SpanTransform", "vocabulary"),
        **({"past_catalogues": _earlier(Catalogue, "CatalogueGen", "catalogue")} if given.catalogue else {}),
    }
    champion = Resolver(
        strategy_class=Champion,
        config={"span": span, "most": given.most_spans, "window": given.windows},
        **models,
        past_verdicts=models["verdicts"],
        memory=_earlier(ReplayMemory, "IncrementalTrainer", "memory"),
        sequences=_earlier(standard_artifacts.Examples, "SpanTransform", "sequences"),
        **owed,
        **({"teacher": _earlier(Teacher, "TeacherTrainer", "teacher")} if given.teacher else {}),
        **{f"tuned_{text}": _earlier(TunedEncoder, _tuner(text), "tuned") for text in given.tuners},
        **{f"encodings_{text}": _earlier(ItemEncodings, _encoder(text), "encodings") for text in given.tuners},
        **policy_channels.channels(given.windows, owed["past_held_out"]),
    ).with_id("Champion")
    anchor = Resolver(
        strategy_class=Anchor,
        config={"span": span, "most": PAST_SPANS},
        **models,
        comparisons=_earlier(PairedDifferences, "PairedComparison", "comparison"),
        older_held_out=_earlier(standard_artifacts.Examples, "SpanTransform", "held_out"),
    ).with_id("Anchor")

    # What the shop sells, where it says so: the state of the day before, and what was delivered since.
    catalogue = [CatalogueGen(given.catalogue, span, yesterday.outputs["catalogue"])] if given.catalogue else []
    sold = dict(catalogue[0].outputs) if catalogue else {}

    with Cond(guard.outputs["profile"].future()[0].custom_property("held") != 1):
        # With yesterday's state events become training sequences, a grown vocabulary and today's state.
        transform = SpanTransform(
            events=events.outputs["examples"],
            vocabulary=yesterday.outputs["vocabulary"],
            history=yesterday.outputs["history"],
            span=span,
            settings=given.transform,
            **sold,
        )

        # The model in service is tested on what it has not seen.
        next_span = NextSpanEvaluator(
            sequences=transform.outputs["sequences"],
            held_out=transform.outputs["held_out"],
            model=champion.outputs["model"],
            span=span,
            history_length=config.history.length,
            older_held_out=champion.outputs.get("older_held_out"),
            vocabulary=transform.outputs["vocabulary"],
            cold_below=config.gate.cold_below,
            weighted=given.weighted,
            k=config.gate.k,
            exclude_seen=config.push.exclude_seen,
            catalogue=sold.get("catalogue"),
        )

        # Skip, fine-tune or retrain; then train, compare with champion and anchor, and push what is not worse.
        decider = UpdateDecider(
            sequences=transform.outputs["sequences"],
            held_out=transform.outputs["held_out"],
            past_sequences=champion.outputs["sequences"],
            model=champion.outputs["model"],
            span=span,
            min_held_out=config.gate.min_verdict_events,
            max_owed=config.update.max_owed_spans,
            retrain_spans=config.update.retrain_spans,
            rules=given.policy,
            override=override,
            past_verdicts=champion.outputs["past_verdicts"],
            **policy_channels.signals(
                given.policy,
                given.windows,
                before=champion.outputs,
                today={**next_span.outputs, **statistics.outputs, **transform.outputs},
            ),
        )
        with Cond(decider.outputs["decision"].future()[0].custom_property("action") != "skip"):
            # Encoders may learn from what follows what; every few days what they learned encodes.
            tuners = {
                text: EncoderTuner(
                    decision=decider.outputs["decision"],
                    sequences=transform.outputs["sequences"],
                    held_out=transform.outputs["held_out"],
                    vocabulary=transform.outputs["vocabulary"],
                    catalogue=sold["catalogue"],
                    past_sequences=champion.outputs["sequences"],
                    base_tuned=champion.outputs[f"tuned_{text}"],
                    last_tuned=yesterday.outputs[f"tuned_{text}"],
                    span=span,
                    version=version,
                    settings=of,
                ).with_id(_tuner(text))
                for text, of in given.tuners.items()
            }
            # Of the catalogue's texts those become vectors that were not there before.
            encoders = []
            for text, of in given.encoders.items():
                before, tuned = yesterday.outputs[f"encodings_{text}"], None
                if text in tuners:
                    # A refused candidate may have had another revision than the champion has.
                    before = union([before, champion.outputs[f"encodings_{text}"]])
                    tuned = tuners[text].outputs["tuned"]
                encoders.append(ItemEncoder(sold["catalogue"], span, of, before, tuned).with_id(_encoder(text)))
            learned_from: dict[str, Any] = {
                "decision": decider.outputs["decision"],
                "sequences": transform.outputs["sequences"],
                "held_out": transform.outputs["held_out"],
                "vocabulary": transform.outputs["vocabulary"],
                "past_sequences": champion.outputs["sequences"],
                "encodings": union([of.outputs["encodings"] for of in encoders]) if encoders else None,
                "earlier_teacher": champion.outputs.get("teacher"),
                "span": span,
                "version": version,
                **sold,
            }
            # A model of another shape that teaches the one that is served; it learns every few days.
            teacher = [TeacherTrainer(**learned_from, settings=given.teacher)] if given.teacher else []
            trainer = IncrementalTrainer(
                **learned_from,
                base_model=champion.outputs["model"],
                base_memory=champion.outputs["memory"],
                **{name: champion.outputs[name] for name in owed},
                teacher=teacher[0].outputs["teacher"] if teacher else None,
                settings=given.trainer,
            )
            comparison = PairedComparison(
                held_out=transform.outputs["held_out"],
                model=trainer.outputs["model"],
                champion=champion.outputs["model"],
                anchor=anchor.outputs["model"],
                comparisons=anchor.outputs["comparisons"],
                older_held_out=anchor.outputs["older_held_out"],
                span=span,
                history_length=config.history.length,
                oov_rows=config.vocabulary.oov_rows,
                weighted=given.weighted,
                rules=comparison_rules(config),
            )
            gate = Gate(
                examples=transform.outputs["held_out"],
                model=trainer.outputs["model"],
                baseline_model=champion.outputs["model"],
                comparison=comparison.outputs["comparison"],
                eval_config=eval_config(config, given.metrics, given.weighted),
                example_splits=[VERDICT],
            ).with_id("Evaluator")
            pusher = SpanPusher(
                model=trainer.outputs["model"],
                model_blessing=gate.outputs["blessing"],
                evaluation=gate.outputs["evaluation"],
                comparison=comparison.outputs["comparison"],
                span=span,
                served=str(config.serving_path),
                keep_versions=config.push.keep_versions,
                latency_budget_ms=config.serving.latency_budget_ms,
            )

    return pipeline.Pipeline(
        pipeline_name=config.name,
        pipeline_root=str(config.artifacts_path),
        metadata_connection_config=connection.connection_config(config),
        components=[
            events, statistics, schema, validator, usual, guard, yesterday, *catalogue, champion, anchor, transform,
            next_span, decider, *tuners.values(), *encoders, *teacher, trainer, comparison, gate, pusher,
        ],
        enable_cache=config.cache,
        beam_pipeline_args=list(given.beam),
    )  # fmt: skip


def _encoder(text: str) -> str:
    """The id of the node that encodes a feature."""
    return f"ItemEncoder.{text}"


def _tuner(text: str) -> str:
    """The id of the node that tunes its encoder."""
    return f"EncoderTuner.{text}"


def _earlier(kind: type[Artifact], producer: str, output: str) -> Channel:
    """What earlier runs of a node have put out, for a resolver to choose from."""
    return Channel(type=kind, producer_component_id=producer, output_key=output)
