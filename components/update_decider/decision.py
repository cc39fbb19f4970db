"""Skip, fine-tune or train from nothing: the rule, without any TFX."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pydantic

from components.update_decider.backoff import NONE, Backoff, in_words
from components.update_decider.limit_checks import Finding, findings
from components.update_decider.policy import Signals, UpdatePolicy
from components.update_decider.triggers import Trigger, as_sentence, drift_found, may_rest, retrain_due, waiting
from trainer.backoff import UNCHANGED, Factors

Action = Literal["skip", "fine_tune", "cold_start", "retrain"]
Override = Literal["skip", "fine_tune", "retrain"]

_NO_SIGNALS = Signals()


class DecisionError(ValueError):
    """What was asked for can't be done with this span; the message says why."""


@dataclasses.dataclass(frozen=True)
class Decision:
    """What is done with a span.

    Attributes:
      action: `skip` leaves the champion as it is; `cold_start` and `retrain` start from fresh weights.
      reason: one sentence, or a few.
      train_on: spans to train on, oldest first; the last is the span itself.
      overruled: the action that the policy had decided on where the user wanted another; else empty.
      drift: what drifted beyond a limit, in a sentence; else empty.
      backoff: how far learning is turned down since what was refused before.
      factors: of the training, by that; training from fresh weights is not changed.
      learning: both in words; empty where nothing is changed.
    """

    action: Action
    reason: str
    train_on: tuple[int, ...]
    overruled: str = ""
    drift: str = ""
    backoff: Backoff = NONE
    factors: Factors = UNCHANGED
    learning: str = ""

    def write(self, folder: str) -> None:
        (Path(folder) / "decision.json").write_text(json.dumps(dataclasses.asdict(self), indent=1))

    @classmethod
    def read(cls, folder: str) -> Decision:
        return pydantic.TypeAdapter(cls).validate_json((Path(folder) / "decision.json").read_text())


def decide(
    span: int,
    champion_span: int | None,
    past: Sequence[int],
    new_events: int,
    held_out: int,
    min_held_out: int,
    max_owed: int,
    retrain_spans: int,
    rules: UpdatePolicy,
    signals: Signals = _NO_SIGNALS,
    override: Override | None = None,
    backoff: Backoff = NONE,
) -> Decision:
    """Decides on one span. Depends on its arguments alone.

    What counts first: no event to train on, or too few to judge by (skip); no champion (cold start); more owed than
    `max_owed`, the schedule, the age of the last full retrain, a limit for a full retrain (retrain); nothing that calls
    for an update, while fewer than `rules.rest_spans` are owed (skip); else fine-tune.

    Args:
      span: the span's number.
      champion_span: the last span that the model in service learned, None without one.
      past: earlier spans whose sequences are at hand, oldest first.
      new_events: new positions in the span's sequences.
      held_out: events of the verdict part, that the gate can be decided on, which must be at least `min_held_out`.
      max_owed: how many earlier spans may be caught up before a full retrain is due.
      retrain_spans: how many spans, this one included, a training from fresh weights uses.
      rules: the maintenance policy.
      signals: what was measured.
      override: what the user wants instead, None for nothing.
      backoff: how far learning is turned down.

    Raises:
      DecisionError: `override` asks to fine-tune without a model in service, or to train without a held-out event.
    """
    recent = (*past, span)[-retrain_spans:]
    owed = tuple(past_span for past_span in past if champion_span is not None and past_span > champion_span)
    reached = findings(rules, signals)
    if not new_events and not owed:
        decision = Decision("skip", "The span has no event to train on.", ())
    elif held_out < min_held_out:
        few = (
            f"{held_out} held-out events of the verdict part are too few to judge a candidate by ({min_held_out} are "
            "asked: gate.min_events times gate.verdict_share)."
        )
        decision = Decision("skip", few, ())
    elif champion_span is None:
        decision = Decision("cold_start", "No model is in service yet.", recent)
    elif len(owed) > max_owed:
        many = f"The champion owes at least {len(owed)} spans, more than update.max_owed_spans {max_owed}."
        decision = Decision("retrain", many, recent)
    elif due := retrain_due(span, rules, signals, reached):
        decision = Decision("retrain", due.reason, recent)
    elif rest := may_rest(len(owed), rules, reached):
        decision = Decision("skip", rest.reason, ())
    else:
        why = _why_fine_tune(len(owed), reached, waiting(span, rules, signals, reached))
        decision = Decision("fine_tune", why, (*owed, span))
    if override is not None:
        decision = _overruled(decision, override, champion_span is not None, bool(held_out), recent, (*owed, span))
    factors = backoff.factors(rules.after_refusal) if decision.action == "fine_tune" else UNCHANGED
    return dataclasses.replace(
        decision, drift=drift_found(reached), backoff=backoff, factors=factors, learning=in_words(backoff, factors)
    )


def _why_fine_tune(owed: int, limits_reached: Sequence[Finding], cooldown: Trigger | None) -> str:
    plural = "s" * (owed > 1)
    owes = f"The champion owes {owed} earlier span{plural}." if owed else "The champion has learned every earlier span."
    return " ".join(part for part in (owes, as_sentence(limits_reached), cooldown.reason if cooldown else "") if part)


def _overruled(
    decision: Decision,
    override: Override,
    champion: bool,
    judged: bool,
    recent: tuple[int, ...],
    missing: tuple[int, ...],
) -> Decision:
    sentence = f"The policy had decided to {decision.action.replace('_', '-')}: {decision.reason}"
    if override == "skip":
        return Decision("skip", f"Skipped because the user asked for it. {sentence}", (), decision.action)
    if not judged:
        raise DecisionError(
            f"`--decide {override.replace('_', '-')}` must have held-out events to judge a candidate by. Received: a "
            "span without any. Leave `--decide` out; the span is owed and learned with the next one."
        )
    if champion and override == "fine_tune":
        return Decision("fine_tune", f"Fine-tuned because the user asked for it. {sentence}", missing, decision.action)
    if override == "fine_tune":
        raise DecisionError(
            "`--decide fine-tune` must have a model to start from. Received: a span before which none is in service. "
            "Leave `--decide` out, or write `--decide retrain`."
        )
    action: Action = "retrain" if champion else "cold_start"
    return Decision(action, f"Trained from nothing because the user asked for it. {sentence}", recent, decision.action)
