"""Runs written by hand, for tests that take a ledger as their input."""

from __future__ import annotations

import dataclasses
from typing import Any

from pipeline.ledger.balance import Balance
from pipeline.ledger.runs import Run
from pipeline.spans import Naming

DAYS = Naming(dated=True)
_NODES = ("SpanExampleGen", "StatisticsGen", "SpanTransform", "IncrementalTrainer", "Evaluator", "SpanPusher")


def make_run(name: str, **given: Any) -> Run:
    """A day on which all went well; `given` says what was different."""
    span = DAYS.parse(name)
    version = DAYS.version(span, given.get("revision", 1))
    run = Run(
        span=span,
        name=name,
        revision=1,
        state="done",
        delivery=None,
        fingerprint="split:span",
        events=3_000 + span % 7 * 100,
        rejects=span % 3,
        duplicates=span % 2,
        new_items=10 + span % 5,
        new_keys=20 + span % 11,
        action="fine_tune",
        reason="The champion has learned every earlier span.",
        next_span={"recall": 0.15 + span % 5 / 100, "ndcg": 0.07},
        candidate={"recall": 0.25 + span % 4 / 100, "ndcg": 0.15},
        champion={"recall": 0.2 + span % 6 / 100, "ndcg": 0.1},
        verdict="Blessed on 300 held-out events: recall 0.2500.",
        pushed=version,
        item_rows=400 + span % 100,
        key_rows=700 + span % 100,
        seconds={node: 1.0 + place for place, node in enumerate(_NODES)},
    )
    run = dataclasses.replace(run, **given)
    return run if run.balance or run.events is None else dataclasses.replace(run, balance=_balance(run))


def _balance(run: Run) -> Balance:
    events, rejects, duplicates = run.events or 0, run.rejects or 0, run.duplicates or 0
    return Balance(events + rejects + duplicates, events, {"no_key": rejects}, duplicates, known=0, late=0, early=0)


def skipped_run(name: str) -> Run:
    return make_run(
        name,
        action="skip",
        reason="3 held-out events, 5 are asked.",
        candidate={},
        champion={},
        verdict="",
        pushed=None,
        seconds={"SpanExampleGen": 1.0},
    )


def refused_run(name: str) -> Run:
    return make_run(name, verdict="Refused on 300 held-out events: recall is 0.1000.", pushed=None)


def failed_run(name: str) -> Run:
    """A day whose files could not be read: nothing is known of it."""
    unknown = dict.fromkeys(
        ("events", "rejects", "duplicates", "new_items", "new_keys", "item_rows", "key_rows", "pushed")
    )
    return make_run(
        name,
        state="failed",
        fingerprint="",
        action="",
        reason="",
        next_span={},
        candidate={},
        champion={},
        verdict="",
        seconds={"SpanExampleGen": 0.4},
        **unknown,
    )
