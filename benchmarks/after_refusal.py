"""Nights until the next push after a refusal, with `update.after_refusal` and without.

    python -m benchmarks.after_refusal --out scratch [--data ../shared/data] [--nights 8] [--seeds 3]
        [--save benchmarks/results/after_refusal.json]

Early days of film ratings (movietweetings, from 2013-03-01 on) and of the demo's simulated shop. Each line of nights
begins with a cold start at the settings' own rate; then it is fine-tuned at that rate, or at one that is too high. The
gate is the pipeline's paired comparison with the champion, and its retention; a night that is refused is owed and
learned with the next. Every rule meets the same days and seeds. What has been run is kept in `--out`.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components.update_decider.backoff import REFUSED, WORSE, PastVerdict, next_backoff
from pipeline.backtest.next_span import as_signature, evaluate_on
from pipeline.backtest.prepared_spans import PreparedSpan, prepare
from pipeline.backtest.verdict import judged
from pipeline.config import Config, load_config, with_settings
from pipeline.demo.simulator import SHOP_SETTINGS, simulate
from pipeline.parameters.graph_parameters import GraphParameters
from pipeline.planning.deliveries import read_deliveries
from pipeline.spans import Naming
from trainer.backoff import backed_off
from trainer.keras2 import tf
from trainer.settings import AfterRefusal, Policy
from trainer.update import Span, Update, update

FILMS_FROM, SHOP_FROM, SHOP_SEED = "2013-03-01", datetime.date(2024, 5, 1), 7
SHOP = (
    SHOP_SETTINGS
    + """\
  span_hours: 24
history: {length: 20}
model: {params: {dimension: 32}}
update: {epochs: 3}
"""
)
# Of the settings' own rate: so high that the gate refuses some nights. At the settings' own it refuses none.
TIMES = {"movietweetings": 32.0, "simulated shop": 32.0}
OFF = AfterRefusal(max_refusals=0)
RATE = AfterRefusal(rate=0.5, replay=1.0, epochs=1.0, max_refusals=2)


@dataclasses.dataclass(frozen=True)
class Rule:
    """The settings, and the `budget` of the replay memory beside them."""

    settings: AfterRefusal
    budget: int = 0


RULES = {
    "off": Rule(OFF),
    "rate 0.5": Rule(RATE),
    "rate 0.5, epochs 0.5": Rule(dataclasses.replace(RATE, epochs=0.5)),
    "with replay: off": Rule(OFF, budget=2000),
    "with replay: rate 0.5, replay 2": Rule(dataclasses.replace(RATE, replay=2.0), budget=2000),
}


def main() -> None:
    """Parses arguments, runs, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="a folder; a run that was cut off goes on there")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="holds the folder movietweetings")
    parser.add_argument("--nights", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", choices=sorted(TIMES), help="one of the two, for a process each")
    parser.add_argument("--save", type=Path)
    arguments = parser.parse_args()
    lines = []
    for name, (config, spans) in _data(arguments.out, arguments.data, arguments.nights + 1).items():
        times = TIMES[name]
        for called, rule in RULES.items() if arguments.only in (None, name) else ():
            kept = []
            for seed in range(1, arguments.seeds + 1):
                path = arguments.out / "lines" / f"{name}, {times:g}, {called}, {seed}, {len(spans)}.json"
                if not path.exists():
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text(json.dumps(run(config, spans, rule, times, seed)))
                kept.append(json.loads(path.read_text()))
            lines.append({"data": name, "rate_times": times, "rule": called, **summary(kept), "seeds": kept})
            print({key: value for key, value in lines[-1].items() if key != "seeds"}, flush=True)
    if arguments.save:
        command = f"python -m benchmarks.after_refusal --nights {arguments.nights} --seeds {arguments.seeds} --out …"
        arguments.save.write_text(json.dumps({"command": command, "lines": lines}, indent=1) + "\n")


def summary(seeds: Sequence[Sequence[dict[str, Any]]]) -> dict[str, Any]:
    """Over all nights of all seeds: pushes, refusals, the nights from a refusal to the push after it, and recall.

    Where the line ends before a push came, the nights are those to its end: too few.
    """
    waits = [wait for nights in seeds for wait in waits_of([night["pushed"] for night in nights])]
    recalls = [statistics.fmean(night["next_span"] for night in nights) for nights in seeds]
    return {
        "nights": sum(map(len, seeds)),
        "pushed": sum(night["pushed"] for nights in seeds for night in nights),
        "refused": sum(not night["pushed"] for nights in seeds for night in nights),
        "blessed_but_worse": sum(night["lesson"] == WORSE for nights in seeds for night in nights),
        "refusals_begun": len(waits),
        "nights_to_next_push": round(statistics.fmean(waits), 2) if waits else None,
        "longest": max(waits, default=None),
        "ended_refused": sum(not nights[-1]["pushed"] for nights in seeds),
        "next_span_recall": round(statistics.fmean(recalls), 4),
        "spread_over_seeds": round(statistics.stdev(recalls), 4) if len(recalls) > 1 else None,
    }


def waits_of(pushed: Sequence[bool]) -> list[int]:
    """For each first refusal, on which night after it the next push was; one that never came counts to the end."""
    waits, since = [], None
    for night, fine in enumerate(pushed):
        if fine and since is not None:
            waits.append(night - since)
        since = None if fine else night if since is None else since
    return [*waits, len(pushed) - since] if since is not None else waits


def run(config: Config, spans: Sequence[PreparedSpan], rule: Rule, times: float, seed: int) -> list[dict[str, Any]]:
    """A line of nights after a cold start on the first of `spans`."""
    config = with_settings(config, {"update": {"stability": {"replay": {"budget": rule.budget}}}}, "The rule")
    given = GraphParameters.of(config)
    cold = dataclasses.replace(given.trainer.policy, seed=seed)
    policy = dataclasses.replace(cold, learning_rate=times * cold.learning_rate)
    champion, at = _learn(given, spans[:1], cold, None), 0
    levels = {spans[0].number: judged(config, _signature(config, champion), None, spans[0], [], given.weighted).levels}
    verdict: PastVerdict | None = None
    nights = []
    for index in range(1, len(spans)):
        signature = _signature(config, champion)
        backoff = next_backoff(verdict, rule.settings, config.data.dated)
        factors = backoff.factors(rule.settings)
        metrics, _ = evaluate_on(spans[index], signature, config.history.length, given.weighted)
        candidate = _learn(given, spans[at + 1 : index + 1], backed_off(policy, factors), champion)
        past = [(span, levels[span.number]) for span in spans[:at] if span.number in levels]
        (lesson, against), own = judged(
            config, _signature(config, candidate), signature, spans[index], past, given.weighted
        )
        verdict = PastVerdict(spans[index].number, False, lesson, against, backoff)
        pushed = lesson != REFUSED
        nights.append(
            {
                "span": spans[index].name,
                "next_span": round(metrics["recall"], 5),
                "rate": factors.rate,
                "pushed": pushed,
                "lesson": lesson,
                "against": against,
            }
        )
        if pushed:
            champion, at, levels[spans[index].number] = candidate, index, own
    return nights


def _learn(given: GraphParameters, spans: Sequence[PreparedSpan], policy: Policy, champion: Update | None) -> Update:
    last = spans[-1]
    return update(
        given.trainer.model, last.sizes, [Span(span.number, span.sequences) for span in spans], last.select,
        last.popularity, policy, base=champion.state if champion else None,
        memory=champion.memory if champion else None,
    )  # fmt: skip


def _signature(config: Config, learned: Update) -> Any:
    def metrics(key: tf.Tensor, history: tf.Tensor, item: tf.Tensor, weight: tf.Tensor) -> dict[str, tf.Tensor]:
        return learned.model.evaluate_positions(key, history, item, weight, config.gate.k, config.push.exclude_seen)

    return as_signature(metrics)


def _data(out: Path, data: Path, days: int) -> dict[str, tuple[Config, list[PreparedSpan]]]:
    films = load_config(Path(__file__).parents[1] / "examples" / "movietweetings.yaml")
    events = str((data / "movietweetings" / "events").resolve())
    gate = {"gate": {"thresholds": {"recall": {"floor": 0.0, "max_drop": 0.02}}}}  # the default
    changes = {
        "data": {"path": events, "items": None, "item_title": "title"},
        "model": {"params": {"key_embedding": False, "dimension": 32}},
        **gate,
    }
    films = with_settings(films, changes, "The run")
    shop = out / "shop"
    if not (shop / "warmspan.yaml").exists():
        simulate(shop / "shop", SHOP_FROM, days, SHOP_SEED, events_per_day=1500)
        (shop / "warmspan.yaml").write_text(SHOP)
    first = Naming(True).parse(FILMS_FROM)
    prepared = {}
    for name, config in {"movietweetings": films, "simulated shop": load_config(shop / "warmspan.yaml")}.items():
        deliveries = read_deliveries(config)
        numbers = [span for span in sorted(deliveries) if name != "movietweetings" or span >= first][:days]
        folder = out / name / "spans"
        spans = prepare(config, {span: deliveries[span] for span in numbers}, folder, lambda name: None)
        prepared[name] = config, spans
    return prepared


if __name__ == "__main__":
    main()
