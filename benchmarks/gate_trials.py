"""How often the gate is wrong: simulated nights, judged by the rule that the pipeline uses.

    python -m benchmarks.gate_trials [--trials 2000] [--save benchmarks/results/gate_trials.json]

Events are hits and misses of recall. Champion and candidate agree but for a share of the events, `DISCORDANT`, which
is what two models that differ by a night's training do; keys differ in how the candidate suits them, so that the events
of a key are not independent. Printed and kept are: how often the bounds cover the truth; how often an equal candidate
is blessed, and one that is truly .05 worse; on which night a slow slide is refused, and one that the world causes; and
what choosing an epoch by the very events that judge it adds to a model's figure.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from components.paired_comparison.anchor import Anchor, next_anchor
from components.paired_comparison.bounds import interval
from components.paired_comparison.differences import Differences
from components.paired_comparison.judgement import OVERALL, judge
from pipeline.config import Config
from pipeline.parameters.comparison_rules import comparison_rules

RECALL, DISCORDANT, KEY_EFFECT, EVENTS_A_KEY = 0.3, 0.1, 0.9, 3.0
SIZES = (50, 200, 1_000, 5_000)
MAX_DROP, DAYS_BACK = 0.02, 7
_DATA = {"path": "events", "columns": {"key": "user", "item": "item", "timestamp": "time"}}
RULES = dataclasses.replace(
    comparison_rules(Config.model_validate({"name": "shop", "data": _DATA})), max_drop={OVERALL: {"recall": MAX_DROP}}
)


def keys_of(rng: np.random.Generator, events: int, each: float = EVENTS_A_KEY) -> np.ndarray:
    """The key of each event: int64 [events], a key's number of events geometric with the mean `each`."""
    sizes = rng.geometric(1 / each, size=events)
    return np.repeat(np.arange(events), sizes)[:events]


def gains(rng: np.random.Generator, keys: np.ndarray, gain: float, discordant: float = DISCORDANT) -> np.ndarray:
    """What a candidate gains on each event: -1, 0 or 1, its mean `gain`, correlated within a key.

    Two equal models differ on the share `discordant` of the events; what is lost or won comes on top of that.
    """
    of_key = rng.uniform(-1, 1, size=int(keys.max()) + 1)[keys] * discordant * KEY_EFFECT
    drawn = rng.random(len(keys))
    wins, losses = (discordant + of_key) / 2 + max(gain, 0), (discordant - of_key) / 2 + max(-gain, 0)
    return np.where(drawn < wins, 1.0, np.where(drawn < wins + losses, -1.0, 0.0))


def night(rng: np.random.Generator, events: int, gain: float, discordant: float = DISCORDANT) -> Differences:
    keys = keys_of(rng, events)
    # A night's own keys: below 0.
    return Differences({"recall": gains(rng, keys, gain, discordant)}, np.ones(events), -1 - keys)


def coverage(rng: np.random.Generator, trials: int) -> list[dict[str, Any]]:
    """How often 95 % bounds cover the truth, 0: the interval by Student's t, and a percentile bootstrap by key."""
    rows = []
    for events, each in ((50, 1.5), (50, 3.0), (50, 10.0), (200, 3.0), (1_000, 3.0)):
        covered = {"student": 0, "bootstrap": 0}
        for _ in range(trials):
            keys = keys_of(rng, events, each)
            gain = gains(rng, keys, 0.0, 0.2)
            bounds = interval(gain, np.ones(events), keys, 0.975)
            covered["student"] += bounds.lower <= 0 <= bounds.upper
            lower, upper = np.quantile(bootstrap(rng, gain, keys, 1_000), [0.025, 0.975])
            covered["bootstrap"] += lower <= 0 <= upper
        rows.append({"events": events, "events_a_key": each, **{name: n / trials for name, n in covered.items()}})
    return rows


def bootstrap(rng: np.random.Generator, gain: np.ndarray, keys: np.ndarray, samples: int) -> np.ndarray:
    """The means of `samples` resamples of whole keys (Efron and Tibshirani, 1993, chapter 8)."""
    _, cluster = np.unique(keys, return_inverse=True)
    total, size = np.bincount(cluster, weights=gain), np.bincount(cluster)
    times = rng.multinomial(len(size), np.full(len(size), 1 / len(size)), size=samples)
    return (times @ total) / (times @ size)


def verdicts(rng: np.random.Generator, trials: int) -> list[dict[str, Any]]:
    """The share of candidates that are blessed, on a night whose anchor has seven equal nights behind it.

    `point` is the rule without bounds: not more than `max_drop` below the champion on the night's events. `tonight` is
    the comparison with the champion alone; `gate` the whole rule. A candidate that is worse is so on the spans before
    as well, but for `fresh`, which is worse on tonight's events only.
    """
    rows = []
    for discordant in (0.05, 0.1, 0.2):
        for events in SIZES:
            for kind, fresh, before in (("equal", 0.0, 0.0), ("worse", -0.05, -0.05), ("fresh", -0.05, 0.0)):
                blessed = {"point": 0, "tonight": 0, "gate": 0}
                for _ in range(trials):
                    today = night(rng, events, fresh, discordant)
                    earlier = [night(rng, events, 0.0, discordant) for _ in range(DAYS_BACK)]
                    retention = night(rng, min(5_000, 2 * DAYS_BACK * events), before, discordant)
                    judged = judge(RULES, today, [today, *earlier], None, retention, _own(retention))
                    blessed["point"] += bool(today.gains["recall"].mean() >= -MAX_DROP)
                    blessed["tonight"] += not judged.champion[OVERALL]["recall"].refused
                    blessed["gate"] += not judged.refused
                rows.append(
                    {"discordant": discordant, "events": events, "candidate": kind}
                    | {name: count / trials for name, count in blessed.items()}
                )
    return rows


def slides(rng: np.random.Generator, trials: int, nights: int = 40) -> list[dict[str, Any]]:
    """The first night that is refused, where each loses `step` on the night before, or where the world does.

    The anchor is scored on the same events: what the world takes, it takes from both.
    """
    rows = []
    for step in (0.0, -0.005, -0.0195):
        for events in SIZES:
            first = np.array([_first_refused(rng, events, step, nights) for _ in range(trials)])
            rows.append(
                {
                    "step": step,
                    "events": events,
                    "median_night": float(np.median(first)),
                    "p95_night": float(np.quantile(first, 0.95)),
                    "median_loss": float(-step * np.median(first)),
                    "never": float((first > nights).mean()),
                    "refused_a_night": float((first <= nights).sum() / np.minimum(first, nights).sum()),
                }
            )
    return rows


def _first_refused(rng: np.random.Generator, events: int, step: float, nights: int) -> int:
    """The first of `nights`, from 1, on which a line of models is refused that loses `step` a night; else one more."""
    anchor, past, at_anchor = Anchor(0, 0), [], 0
    for number in range(1, nights + 1):
        lost = step * (number - at_anchor)
        against_anchor = night(rng, events, lost)
        against_champion = night(rng, events, step) if at_anchor < number - 1 else against_anchor
        before = [differences for span, differences in reversed(past) if number - span <= DAYS_BACK]
        # A slide loses on the spans before what it loses tonight.
        retention = night(rng, min(5_000, 2 * DAYS_BACK * events), step)
        judged = judge(RULES, against_champion, [against_anchor, *before], anchor.carried, retention, _own(retention))
        if judged.refused:
            return number
        past.append((number, against_anchor))
        line = {name: finding.gain for name, finding in judged.anchor.items()}
        following = next_anchor(anchor, number, number, line, "recall", RULES.anchor_spans)
        if following.version != anchor.version:
            anchor, past, at_anchor = following, [], number
    return nights + 1


def _own(retention: Differences) -> dict[str, float]:
    """Models that know nothing by heart: the champion has on those nights what their own models had."""
    return {"recall": float(retention.gains["recall"].mean())}


def selection(rng: np.random.Generator, trials: int, epochs: int = 10) -> list[dict[str, Any]]:
    """What a figure is above the truth, where the best of some equally good epochs is taken by it, and where not."""
    rows = []
    for events in SIZES:
        chosen, verdict = [], []
        for _ in range(trials):
            base = rng.random((1, 2 * events)) < RECALL
            redrawn = rng.random((epochs, 2 * events)) < DISCORDANT / (2 * RECALL * (1 - RECALL))
            hits = np.where(redrawn, rng.random((epochs, 2 * events)) < RECALL, base)
            of_select, of_verdict = hits[:, :events].mean(axis=1), hits[:, events:].mean(axis=1)
            best = int(of_select.argmax())
            chosen.append(of_select[best] - RECALL)
            verdict.append(of_verdict[best] - RECALL)
        row = {"events": events, "shared": float(np.mean(chosen)), "parts": float(np.mean(verdict))}
        rows.append(row | {"error": float(np.std(verdict) / len(verdict) ** 0.5)})
    return rows


def draw(results: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """The share blessed over the number of events, a panel a kind of candidate."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, 3, figsize=(12, 3.6), sharey=True)
    for panel, (kind, title) in zip(
        panels, (("equal", "equal"), ("worse", ".05 worse"), ("fresh", ".05 worse tonight only")), strict=True
    ):
        for rule, line in (("point", ":"), ("tonight", "--"), ("gate", "-")):
            rows = [row for row in results["verdicts"] if row["candidate"] == kind and row["discordant"] == DISCORDANT]
            panel.plot([row["events"] for row in rows], [row[rule] for row in rows], line, marker="o", label=rule)
        panel.set(xscale="log", title=title, xlabel="events of the night's verdict part", ylim=(-0.03, 1.03))
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("share blessed")
    panels[0].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=100)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=2_000)
    parser.add_argument("--save", type=Path, help="write the figures to this JSON file, and a plot beside it")
    options = parser.parse_args(arguments)
    results = {}
    for seed, (run, share) in enumerate(((coverage, 0.5), (verdicts, 1.0), (slides, 0.1), (selection, 0.2))):
        name = run.__name__
        results[name] = run(np.random.default_rng(seed), max(2, int(share * options.trials)))
        print(name)
        for row in results[name]:
            print("  " + "  ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    if options.save:
        options.save.write_text(json.dumps({"trials": options.trials, **results}, indent=1) + "\n")
        draw(results, options.save.with_suffix(".png"))


if __name__ == "__main__":
    main()
