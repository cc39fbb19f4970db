"""A settings file in YAML with every setting, its default and what it does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pydantic
import yaml

from pipeline.config import Config
from pipeline.config.section import is_section, settings_in

COMMENTS = {
    "name": "the model's name in TF Serving: letters, digits and _",
    "root": "where artifacts, logs, the ledger and TF Serving's folder go; relative paths start here",
    "metadata": "the ledger's database: null is an SQLite file under root, else mysql://… or postgresql://…",
    "cache": "whether a step with the same inputs and settings is answered from the ledger instead of run again",
    "data": "where the spans of events lie, and how a row becomes an event",
    "data.path": "the folder that holds all spans, on a disk or in a bucket: s3://…, gs://… (docs/storage.md)",
    "data.pattern": "a span's files below path, by {YYYY}, {MM}, {DD} or by {SPAN}; v{VERSION}: deliveries of a span",
    "data.format": "csv, parquet, jsonl or tfrecord, each also gzipped (.gz)",
    "data.columns": "the names of your columns",
    "data.columns.key": "who: a user or a session",
    "data.columns.item": "what",
    "data.columns.timestamp": "when",
    "data.columns.weight": "how much an event counts, optional. null: all events count the same",
    "data.columns.context": "further columns that your own model needs, or, like a price, the guard (docs/guard.md)",
    "data.timestamp_unit": "s, ms, us or ns, where timestamps are numbers",
    "data.timestamp_format": "strptime's pattern, where timestamps are text other than ISO 8601",
    "data.span_hours": "a span's length. auto: a day where the pattern has dates, else any time; null: any time",
    "data.late": "reject: events from outside of it are; accept: they are taken in, at their place in the key's order",
    "data.decimal_ids": "whole: 17850.0 is 17850; as_written: another id. null: as the root began (a new one: whole)",
    "data.weight_above": "rows whose weight is not above this are rejected. null: any number is fine",
    "data.reject": "further rows to reject, e.g. [{column: InvoiceNo, matches: C, reason: cancellation}]",
    "data.max_reject_fraction": "more rejected rows than this stop the span",
    "data.items": "a CSV file of titles, for people who look at recommendations",
    "data.item_title": "its column of titles",
    "catalogue": "what is sold, by date, e.g. {path: catalogue} (docs/features.md). null: what events show",
    "encoders": "of texts of the catalogue, e.g. {minilm: {path: models/all-MiniLM-L6-v2}} (docs/text.md); with\n"
    "tuning: {method: lora} an encoder learns from what follows what (docs/tuning.md)",
    "features": "what is known besides ids, e.g. [{name: brand, kind: category}] (docs/features.md)",
    "features.item": "columns of the catalogue: id, category, categories, number, time, text or vector",
    "features.key": "columns of the events: of the user or session, e.g. [{name: country, kind: category}]",
    "features.context": "columns of the events: of the moment and the request, e.g. [{name: device, kind: category}]",
    "split": "what is held out of each span",
    "split.eval_fraction": "the last part by time judges that day's candidate and is trained on the next day",
    "vocabulary": "which ids get an embedding row of their own",
    "vocabulary.item_min_count": "events an item needs first",
    "vocabulary.key_min_count": "events a key needs first",
    "vocabulary.oov_rows": "rows that all other ids share",
    "vocabulary.item_max_age": "spans since its last event after which an item loses its row, e.g. 90d. null: never",
    "vocabulary.key_max_age": "the same of a key, with what is kept of it",
    "vocabulary.max_items": "most items with a row of their own: beyond, those asked for least lose theirs. null: any",
    "vocabulary.max_keys": "the same of keys",
    "vocabulary.half_life_spans": "spans after which an event counts half in what is recent",
    "history": "what the model sees of a key",
    "history.length": "its last events",
    "history.keys_end_after": "hours without an event after which a key is over, as a session is. null: keys come back",
    "model": "what is learned",
    "model.type": "two_tower, sasrec, hstu, mf, ranking, dcn, two_stage, or the dotted path of your own tfrs.Model",
    "model.params": "its arguments, e.g. {dim: 64}",
    "update": "how one span changes the model",
    "update.epochs": "at most; the best one is kept",
    "update.patience": "epochs without a better eval part before stopping",
    "update.weight_decay": "share of the matrices, times learning_rate, that a step takes off; not of tables",
    "update.watch": "what is to improve on the eval part: loss, recall, ndcg or mrr",
    "update.optimizer": "adagrad or adam; on tables the cost of both follows the batch",
    "update.clip_norm": "the gradients' global norm is clipped to this. null: not at all",
    "update.new_rows": "where a new id starts: cooccurrence (mean of what it goes with), mean (the table's) or random",
    "update.max_owed_spans": "spans a champion may be behind before a full retrain is due",
    "update.retrain_spans": "spans that a full retrain learns",
    "update.precision": "layers compute in float32, mixed_bfloat16 or mixed_float16; all that is kept is float32",
    "update.jit_compile": "true: XLA compiles the loss and its gradients, once for each of a few sizes of batches",
    "update.seed": "the same seed and spans give the same model",
    "update.after_refusal": "how the next update learns after a candidate that was refused, or worse by the bound",
    "update.after_refusal.rate": "factor of the learning rate, once more with each refusal in a row; 1: as it is",
    "update.after_refusal.replay": "of the old positions in a step, with a replay.budget",
    "update.after_refusal.epochs": "of the epochs, rounded up",
    "update.after_refusal.max_refusals": "so many count at most; 0: learning is never changed",
    "update.stability": "what keeps the old days from being forgotten; compare with `warmspan backtest`",
    "update.stability.replay": "old sequences that are learned again",
    "update.stability.replay.budget": "how many are kept; 0: none",
    "update.stability.replay.fraction": "old positions in a step, as a share of the new ones",
    "update.stability.replay.weight": "of their loss",
    "update.stability.replay.selection": "which are kept: reservoir (any), recency, frequency or herding (by item)",
    "update.stability.replay.half_life": "of recency, in spans",
    "update.stability.distillation": "holds the candidate to the champion's scores",
    "update.stability.distillation.weight": "of its loss; 0: none",
    "update.stability.distillation.adaptive": "whether it follows the shares of old items and of what is replayed",
    "update.stability.distillation.temperature": "above 1 the order of all items counts more",
    "update.stability.distillation.batches": "replayed, new or both",
    "update.stability.distillation.candidates": "items that are compared in a step",
    "update.stability.proximal": "a pull towards the champion's weights",
    "update.stability.proximal.strength": "0: none",
    "update.stability.ewc": "the same, by how much the old days depend on each weight",
    "update.stability.ewc.strength": "0: none",
    "update.stability.ewc.sample": "positions of each span that this is estimated on",
    "update.stability.ewc.decay": "what the spans before count in the average of them and a span",
    "update.stability.partial": "by patterns of variables' paths",
    "update.stability.partial.freeze": "what stays as it is, e.g. [item_embedding/*]",
    "update.stability.partial.rates": "factors of the learning rate, e.g. {item_embedding/*: 0.1}",
    "update.stability.shrink": "at the start of a span, weights are made smaller and get noise",
    "update.stability.shrink.factor": "1: as they are",
    "update.stability.shrink.noise": "its standard deviation; 0: none",
    "update.stability.averaging": "the weights that are kept lie between yesterday's and today's",
    "update.stability.averaging.share": "of today's; 1: today's alone",
    "update.schedule": "how the learning rate changes",
    "update.schedule.within": "within a span: constant, cosine (up over warm_up, then down to final) or plateau",
    "update.schedule.warm_up": "a share of the span's steps",
    "update.initial_accumulator": "where Adagrad's sums start; at Keras's 0.1 seldom rows hardly move",
    "update.schedule.final": "a share of learning_rate",
    "update.schedule.slots": "the optimizer's accumulators at the start of a span: carry, reset, or decay to keep",
    "update.schedule.keep": "a share of them",
    "update.schedule.factor": "of the learning rate after a plateau",
    "update.schedule.patience": "epochs without a better eval part that are one",
    "update.schedule.rates": "learning rates that each span tries, to take the best",
    "update.schedule.probe_steps": "steps with each",
    "update.schedule.row_boost": "with adam: how many times learning_rate the first step of a row of a table has",
    "update.schedule.row_touches": "steps of a row after which half of that boost is gone",
    "update.augmentation": "of sequence models, e.g. {share: 0.5, mask: 0.3} (docs/models.md). null: none",
    "update.teacher": "who teaches it, e.g. {type: sasrec, params: {dimension: 256}} (docs/teacher.md). null: nobody",
    "training": "which devices and machines share the training steps (docs/workers.md)",
    "training.strategy": "none, mirrored (the GPUs of this machine) or multi_worker (the workers of TF_CONFIG)",
    "training.restarts": "so often a training of several workers goes on after it has lost one",
    "guard": "which spans are held before anything is trained on them, until `warmspan release`",
    "guard.hold": "false: what would hold a span is said, and all are let in",
    "guard.at_least": "with fewer past spans nothing is held but what is certain, whatever the past was",
    "guard.spans": "how many of the last spans that were let in say what is usual",
    "guard.sensitivity": "2 halves the distances at which a span is held, 0.5 doubles them",
    "guard.ignore": "figures that hold no span, e.g. [catalogue, drift country]; docs/guard.md lists them",
    "gate": "what a candidate must show before it is pushed",
    "gate.k": "the length of the lists that are judged",
    "gate.min_events": "with fewer held-out events there is no verdict",
    "gate.verdict_share": "share of the held-out events that judge, by key; the others choose epochs and rate",
    "gate.cold_below": "an id with fewer training events is cold, with none new, else warm",
    "gate.thresholds": "a metric: its floor, and how far it may fall below the champion's, if chance does not make it",
    "gate.slice_thresholds": "the same for a slice, e.g. {'item_slice:new': {recall: {floor: 0.01}}}",
    "gate.confidence": "how sure each bound of a difference is; both together: 2 * confidence - 1, here 95 %",
    "gate.on_little_evidence": "bless or refuse a candidate of which too few events say that it is not too far below",
    "gate.min_slice_events": "a slice with fewer events is shown and decides nothing",
    "gate.budget": "how many times its max_drop a metric may lose against the anchor, over all spans; null: no limit",
    "gate.anchor_spans": "after so many spans the model in service is the anchor; what was lost is carried over",
    "gate.pool_events": "spans before are pooled against the anchor until there are so many events",
    "gate.retention": "how many times its max_drop a metric may lose on spans that both have learned; null: no limit",
    "gate.confidence_intervals": "whether TFMA's own evaluation holds bounds too; takes twice the time",
    "push": "how a blessed model reaches TF Serving's folder",
    "push.path": "a bucket that servers elsewhere load from, e.g. s3://bucket/models (docs/storage.md). null: none",
    "push.keep_versions": "older versions are deleted",
    "push.max_k": "the longest list that can be asked for",
    "push.exclude_seen": "whether a history's items are left out of its recommendations",
    "push.places_for_new": "places of a list that are kept, e.g. {places: 2, younger_than: 7} (docs/features.md)",
    "serving": "what is exported (docs/serving-model.md)",
    "serving.columns": "columns of data.items that come along with an item; null: its title",
    "serving.available": "its column that says which items may be recommended; null: all",
    "serving.index": "how items are found",
    "serving.index.type": "exact, or approximate: fewer items are looked at, some of the best are missed",
    "serving.index.table": "float32, float16 or int8: how many bits the items' vectors have",
    "serving.index.lists": "that an approximate index sorts the items into; null: 4 times the root of their number",
    "serving.index.probes": "lists that a request looks at; null: as few as reach min_recall",
    "serving.index.min_recall": "share of the exact answer below which nothing is pushed",
    "serving.index.pruning": "share of each item's vector and of each kernel that is served as zero; 0: none",
    "serving.latency_budget_ms": "an export that takes longer for a request is not pushed",
    "policy": "what is done with a span: skip, fine-tune or full retrain. As it stands, each is fine-tuned on",
    "policy.rest_spans": "spans that may be left for later while no limit is reached; they are owed, not lost",
    "policy.cooldown": "days after a full retrain in which no limit calls for another (of numbered spans: spans)",
    "policy.max_age": "days since the last full retrain after which one is due. null: never",
    "policy.next_span": "the champion on a new span, in standard deviations below its mean over the last spans",
    "policy.next_span.fine_tune": "from here on a span is not left for later. null: no limit, here and below",
    "policy.next_span.retrain": "from here on a full retrain is due, e.g. 3. null: no limit, here and below",
    "policy.next_span.metric": "null: recall, or the first metric of a model without it",
    "policy.next_span.spans": "how many spans that mean is of, at most",
    "policy.next_span.at_least": "with fewer there is no limit yet",
    "policy.drift": "how far a span's values are from the nearest of the spans before, by TFDV",
    "policy.drift.spans": "how many spans before",
    "policy.drift.columns": "e.g. {item: {measure: jensen_shannon, retrain: 0.5}}; or infinity_norm",
    "policy.retention": "how far the metric on older held-out events has fallen since they were new",
    "policy.retention.spans": "how many older spans",
    "policy.retention.age": "how many spans back the youngest of them is",
    "policy.new_items": "the share of a span's items that no earlier span had",
    "policy.new_keys": "the same of its keys",
    "policy.schedule": "full retrains by the calendar",
    "policy.schedule.every": "every so many days (of numbered spans: spans), or such weekdays. null: none",
    "policy.schedule.weekday": "e.g. sunday: with every: 4 every fourth one",
    "policy.schedule.start": "the first one, a date or a span's number. null: counted from 1970, or from 0",
    "alerts": "who is told, once, when something happened; JSON with what, span, sentence and pipeline",
    "alerts.command": "a program that gets it on its standard input, e.g. [notify, --urgent]",
    "alerts.webhook": "an address that it is posted to",
    "alerts.on": "failure, refused (by the gate), held (by the guard), gap (no files), drift, unusual (figures)",
    "alerts.timeout": "seconds that either may take",
    "stream": "how `warmspan stream` learns between two nightly runs (docs/stream.md)",
    "stream.every_seconds": "a mini-batch is learned so often at most",
    "stream.batch_events": "of so many events at most",
    "stream.epochs": "passes over each",
    "stream.rate": "factor of update.learning_rate",
    "stream.verdict_share": "of the keys: they are not learned within the day, and judge each mini-batch",
    "stream.verdict_events": "so many of their last events judge",
    "stream.settle_seconds": "a file is read once it has been as it is for so long",
    "backtest": "what stands beside the policies in the table of `warmspan backtest` (docs/backtest.md)",
    "backtest.baselines": "most_popular, half_life, own_items, cooccurrence, sequential_rules, v_sknn: none is trained",
    "backtest.half_life": "of what is popular, in days; of spans below a day in hours",
    "backtest.own_items": "recent or frequent: which of a key's own items come first",
    "backtest.pairs_per_item": "so many items are kept of each by cooccurrence and sequential_rules",
    "backtest.sessions": "so many are kept by v_sknn, the most recent",
    "backtest.sample_size": "of those with a common item so many are looked at, the most recent",
    "backtest.nearest": "of these so many count",
    "gc": "what `warmspan gc` leaves beyond what is needed (docs/housekeeping.md)",
    "gc.keep_spans": "spans whose decisions, verdicts, statistics and logs stay",
    "gc.trash_days": "days for which what gc removed can be put back by `warmspan gc --restore`",
    "beam": "where Beam runs",
    "beam.args": "passed to Beam untouched; empty: in this process",
}


def render(values: Mapping[str, Any], observed: Mapping[str, str], head: str) -> str:
    """The YAML text: every field of `Config`, its default unless `values` has another, a comment above it.

    Args:
      values: dotted setting to value.
      observed: dotted setting to what was seen in the data, added to the comment.
      head: the text at the top, without comment signs.
    """
    lines = [f"# {line}".rstrip() for line in head.splitlines()]
    return "\n".join([*lines, "", *_section(Config, "", values, observed)]) + "\n"


def _section(section: Any, prefix: str, values: Mapping[str, Any], observed: Mapping[str, str]) -> list[str]:
    lines: list[str] = []
    indent = "  " * prefix.count(".")
    for name, field in settings_in(section).items():
        setting = prefix + name
        nested = is_section(field.annotation)
        if nested and not prefix:
            lines.append("")
        comments = (COMMENTS.get(setting), observed.get(setting))
        lines += [f"{indent}# {line}" for text in comments if text for line in text.splitlines()]
        if nested:
            lines += [f"{indent}{name}:", *_section(field.annotation, f"{setting}.", values, observed)]
        else:
            value = values[setting] if setting in values else field.get_default(call_default_factory=True)
            lines.append(f"{indent}{name}: {scalar(value)}")
    return lines


def scalar(value: Any) -> str:
    """A value as it stands in the file."""
    plain = pydantic.TypeAdapter(Any).dump_python(value, mode="json", exclude_none=True)
    text = yaml.safe_dump(plain, default_flow_style=True, allow_unicode=True, width=10**6, sort_keys=False)
    return text.removesuffix("...\n").strip()
