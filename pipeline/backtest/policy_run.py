"""One policy under one seed: each span is tested by the model so far, then learned as the pipeline would learn it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from components.update_decider.decision import Decision, decide
from pipeline import wiring
from pipeline.backtest.next_span import evaluate_on
from pipeline.backtest.policies import Policy
from pipeline.backtest.row import Row
from pipeline.backtest.spans import PreparedSpan
from trainer.keras2 import tf
from trainer.models.base import Recommender
from trainer.stability.replay import ReplayMemory
from trainer.state import ModelState
from trainer.update import Span, rebuild, update

_STATE, _MEMORY, _ABOUT = "state", "memory.npz", "rows.json"

OnSpan = Callable[[PreparedSpan], None]


@dataclasses.dataclass
class _Learned:
    """The champion of a backtest, in which every candidate goes into service."""

    model: Recommender
    state: ModelState
    memory: ReplayMemory


class PolicyRun:
    """A policy and a seed over the spans, with everything kept in `folder` after each."""

    def __init__(self, policy: Policy, seed: int, spans: Sequence[PreparedSpan], folder: Path) -> None:
        self._policy, self._seed, self._spans, self._folder = policy, seed, spans, folder
        config = policy.config
        self._spec = wiring.model_spec(config)
        self._training = dataclasses.replace(wiring.policy(config), seed=seed)
        gate, push = config.gate, config.push
        bounds = (config.update.max_owed_spans, config.update.retrain_spans, gate.min_events, gate.k, push.exclude_seen)
        how = (policy.learn, dataclasses.asdict(self._spec), dataclasses.asdict(self._training), bounds)
        self._how = json.dumps(how, sort_keys=True)

    def run(self, on_span: OnSpan | None = None) -> list[Row]:
        """Rows of all spans in order; spans that were done under the same settings and events are not done again."""
        rows, learned = self._resume()
        for index in range(len(rows), len(self._spans)):
            span = self._spans[index]
            if on_span:
                on_span(span)
            metrics, events = ({}, 0) if learned is None else self._test(learned.model, span)
            decision = self._decide(index, learned)
            examples, epochs, seconds = 0, 0, 0.0
            if decision.action != "skip":
                learned, examples, epochs, seconds = self._learn(decision, span, learned)
            rows.append(
                Row(
                    self._policy.name, self._seed, span.name, decision.action, events, metrics,
                    examples, epochs, seconds, self._fingerprint(span),
                )
            )  # fmt: skip
            self._keep(span, rows, learned)
        return rows[: len(self._spans)]

    def _test(self, model: Recommender, span: PreparedSpan) -> tuple[dict[str, float], int]:
        gate, push = self._policy.config.gate, self._policy.config.push

        def metrics(key: tf.Tensor, history: tf.Tensor, item: tf.Tensor, weight: tf.Tensor) -> dict[str, tf.Tensor]:
            return model.evaluate_positions(key, history, item, weight, gate.k, push.exclude_seen)

        return evaluate_on(span, metrics, self._spec.history_length)

    def _decide(self, index: int, learned: _Learned | None) -> Decision:
        config, span = self._policy.config, self._spans[index]
        past = [one.number for one in self._spans[:index]][-wiring.most_spans(config) :]
        champion = learned.state.learned[-1] if learned is not None else None
        if champion is not None and self._policy.learn == "never":
            return Decision("skip", "The policy learns the first span alone.", ())
        decision = decide(
            span.number, champion, past, span.sequences.new_events, len(span.held_out), config.gate.min_events,
            config.update.max_owed_spans, config.update.retrain_spans,
        )  # fmt: skip
        if decision.action == "fine_tune" and self._policy.learn == "retrain":
            recent = (*past, span.number)[-config.update.retrain_spans :]
            return Decision("retrain", "The policy learns every span with those before it.", recent)
        return decision

    def _learn(
        self, decision: Decision, span: PreparedSpan, learned: _Learned | None
    ) -> tuple[_Learned, int, int, float]:
        numbers = set(decision.train_on)
        result = update(
            self._spec,
            span.sizes,
            [Span(one.number, one.sequences) for one in self._spans if one.number in numbers],
            span.held_out,
            span.popularity,
            self._training,
            base=learned.state if learned is not None and decision.action == "fine_tune" else None,
            memory=learned.memory if learned is not None else None,
        )
        after = _Learned(result.model, result.state, result.memory)
        return after, result.examples, result.epochs, result.seconds

    def _fingerprint(self, span: PreparedSpan) -> str:
        return hashlib.sha256(f"{self._how}{span.fingerprint}".encode()).hexdigest()

    def _keep(self, span: PreparedSpan, rows: Sequence[Row], learned: _Learned | None) -> None:
        partial = self._folder / f".{span.name}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        if learned is not None:
            learned.state.save(partial / _STATE)
            learned.memory.save(partial / _MEMORY)
        (partial / _ABOUT).write_text(json.dumps([dataclasses.asdict(row) for row in rows]))
        kept = self._folder / span.name
        shutil.rmtree(kept, ignore_errors=True)
        partial.rename(kept)
        for old in self._folder.iterdir():
            if old != kept:
                shutil.rmtree(old)

    def _resume(self) -> tuple[list[Row], _Learned | None]:
        for folder in self._folder.glob("[!.]*") if self._folder.is_dir() else ():
            rows = [Row.from_dict(raw) for raw in json.loads((folder / _ABOUT).read_text())]
            expected = [self._fingerprint(span) for span in self._spans]
            both = min(len(rows), len(expected))
            if [row.fingerprint for row in rows[:both]] != expected[:both]:
                continue
            if len(rows) >= len(expected) or not (folder / _STATE).is_dir():
                return rows, None
            state = ModelState.load(folder / _STATE)
            return rows, _Learned(rebuild(self._spec, state), state, ReplayMemory.load(folder / _MEMORY))
        return [], None
