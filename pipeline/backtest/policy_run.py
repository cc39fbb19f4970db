"""One policy under one seed: each span is tested by the model so far, then learned as the pipeline would learn it."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from components.next_span_evaluator.component import evaluate
from components.update_decider.backoff import FROM_NOTHING, Backoff, PastVerdict, next_backoff
from components.update_decider.decision import Decision, decide
from components.update_decider.policy import Signals
from pipeline.backtest import retention
from pipeline.backtest.next_span import as_signature, evaluate_on
from pipeline.backtest.policies import Policy
from pipeline.backtest.prepared_spans import PreparedSpan
from pipeline.backtest.results import Row
from pipeline.backtest.signals import signals
from pipeline.backtest.verdict import judged
from pipeline.metrics import headline
from pipeline.parameters.comparison_rules import comparison_rules
from pipeline.parameters.graph_parameters import GraphParameters
from trainer.atomic_write import atomic_folder, atomic_write
from trainer.backoff import UNCHANGED, backed_off
from trainer.catch_up import catch_up, learn_at_once
from trainer.input_pipeline import Positions
from trainer.keras2 import tf
from trainer.models.base import Recommender
from trainer.stability.replay_memory import ReplayMemory
from trainer.teaching.refresh import due_refresh
from trainer.teaching.teacher import Teacher
from trainer.train_state import ModelState
from trainer.update import rebuild

_STATE, _MEMORY, _TEACHER, _ABOUT = "state", "memory.npz", "teacher", "rows.json"

OnSpan = Callable[[PreparedSpan], None]


@dataclasses.dataclass
class _Learned:
    """The champion of a backtest, in which every candidate goes into service."""

    model: Recommender
    state: ModelState
    memory: ReplayMemory
    teacher: ModelState | None = None
    signature: Any = None


class PolicyRun:
    """A policy and a seed over the spans, with everything kept in `folder` after each."""

    def __init__(
        self,
        policy: Policy,
        seed: int,
        spans: Sequence[PreparedSpan],
        folder: Path,
        retention_spans: int = retention.DEFAULT_SPANS,
    ) -> None:
        """`retention_spans`: how many older spans are tested again at the most; 0 tests none, at no time."""
        self._policy, self._seed, self._spans, self._folder = policy, seed, spans, folder
        self._retention_spans = retention_spans
        config = policy.config
        self._given = GraphParameters.of(config)
        self._spec = self._given.trainer.model
        self._training = dataclasses.replace(self._given.trainer.policy, seed=seed)
        gate, push = config.gate, config.push
        bounds = (
            config.update.max_owed_spans,
            config.update.retrain_spans,
            gate.min_verdict_events,
            gate.k,
            push.exclude_seen,
        )
        fine_tunes = policy.learn == "fine_tune"
        self._rules = self._given.policy if fine_tunes else self._given.policy.without_limits()
        policy_rules = dataclasses.asdict(self._rules)
        spec = {name: value for name, value in dataclasses.asdict(self._spec).items() if value is not None}
        training = dataclasses.asdict(self._training)
        for later in ("augmentation", "teacher"):  # of what was run before there was such a setting nothing changes
            if training[later] is None:
                del training[later]
        how = (policy.learn, spec, training, bounds, policy_rules)
        by_weight = ("weighted",) if self._given.weighted else ()
        by_verdict = (dataclasses.asdict(comparison_rules(config)),) if self._backs_off else ()
        self._how = json.dumps((*how, *by_weight, *by_verdict), sort_keys=True)

    def done(self) -> int:
        """How many spans need not be done again."""
        return min(len(self._kept()[0]), len(self._spans))

    def run(self, on_span: OnSpan | None = None, on_done: OnSpan | None = None) -> list[Row]:
        """Rows of all spans in order; spans that were done under the same settings and events are not done again.

        Args:
          on_span: called before each span that is done now.
          on_done: called after it.
        """
        rows, folder = self._kept()
        more = len(rows) < len(self._spans)
        learned = self._load(folder) if more and folder else None
        for index in range(len(rows), len(self._spans)):
            span = self._spans[index]
            if on_span:
                on_span(span)
            metrics, events = ({}, 0) if learned is None else self._test(learned, span)
            decision = self._decide(rows, learned, metrics)
            examples, epochs, seconds, held_out, verdict = 0, 0, 0.0, None, rows[-1].verdict if rows else None
            levels: dict[str, float] = {}
            if decision.action != "skip":
                champion = learned
                learned, examples, epochs, seconds = self._learn(decision, span, learned)
                verdict, levels = self._judge(decision, rows, learned, champion)
                held_out = self._test_held_out(learned, span).get(self._rules.metric) if self._looks_back else None
            rows.append(
                Row(
                    self._policy.name, self._seed, span.name, decision.action, events, metrics,
                    examples, epochs, seconds, self._fingerprint(span), reason=decision.reason, held_out=held_out,
                    learning=decision.learning, verdict=verdict, levels=levels,
                )
            )  # fmt: skip
            if learned is not None and self._retention_spans:
                rows = self._test_learned(rows, learned, decision)
            # What an earlier last model knew of older spans is no longer asked for.
            rows = [dataclasses.replace(row, retained=None) for row in rows]
            folder = self._keep(span, rows, learned)
            if on_done:
                on_done(span)
        if len(rows) > len(self._spans):  # the last model is that of a later span
            return [dataclasses.replace(row, retained=None) for row in rows[: len(self._spans)]]
        return self._test_again(rows, learned, folder)

    def _test(self, learned: _Learned, span: PreparedSpan) -> tuple[dict[str, float], int]:
        return evaluate_on(span, self._signature(learned), self._spec.history_length, self._given.weighted)

    def _test_learned(self, rows: list[Row], learned: _Learned, decision: Decision) -> list[Row]:
        """Tests on each span that has just been learned for the first time."""
        last = len(rows) - 1
        tested = list(rows)
        for index, row in enumerate(rows):
            first_time = index == last or row.action == "skip"
            if index and first_time and row.just_learned is None and self._spans[index].number in decision.train_on:
                tested[index] = dataclasses.replace(row, just_learned=self._test_sample(learned, self._spans[index]))
        return tested

    def _test_again(self, rows: list[Row], learned: _Learned | None, folder: Path | None) -> list[Row]:
        """Tests the last model on the older spans; what an earlier run has tested is not tested again."""
        older = retention.older_spans(len(rows), self._retention_spans)
        tested = list(rows)
        for index in older:
            if rows[index].retained is None and folder is not None and (folder / _STATE).is_dir():
                learned = learned or self._load(folder)
                again = self._test_sample(learned, self._spans[index]) if learned else None
                tested[index] = dataclasses.replace(rows[index], retained=again)
        if tested != rows and folder is not None:
            self._write_rows(folder, tested)
        asked = [row if index in older else dataclasses.replace(row, retained=None) for index, row in enumerate(tested)]
        return asked if self._retention_spans else [dataclasses.replace(row, just_learned=None) for row in asked]

    def _test_sample(self, learned: _Learned, span: PreparedSpan) -> float | None:
        metrics = self._evaluate(learned, retention.sample(span))
        return metrics.get(headline(self._given.metrics))

    def _signature(self, learned: _Learned) -> Any:
        gate, push = self._policy.config.gate, self._policy.config.push
        model = learned.model

        def metrics(key: tf.Tensor, history: tf.Tensor, item: tf.Tensor, weight: tf.Tensor) -> dict[str, tf.Tensor]:
            return model.evaluate_positions(key, history, item, weight, gate.k, push.exclude_seen)

        # Tracing costs more than a small test, and a model is tested on several spans.
        if learned.signature is None:
            learned.signature = as_signature(metrics, self._spec.query_features or (), model.sizes.numbering)
        return learned.signature

    @property
    def _looks_back(self) -> bool:
        return self._rules.retention.set

    def _test_held_out(self, learned: _Learned, span: PreparedSpan) -> dict[str, float]:
        """What the pipeline's gate measures right after training, and its next-span evaluation on an older span."""
        return self._evaluate(learned, (span.verdict,))

    def _evaluate(self, learned: _Learned, parts: tuple[Positions, ...]) -> dict[str, float]:
        return evaluate(self._signature(learned), parts, self._spec.history_length, self._given.weighted)

    def _decide(self, rows: Sequence[Row], learned: _Learned | None, metrics: dict[str, float]) -> Decision:
        config, index = self._policy.config, len(rows)
        span = self._spans[index]
        past = [span.number for span in self._spans[:index]][-self._given.most_spans :]
        champion = learned.state.learned[-1] if learned is not None else None
        if champion is not None and self._policy.learn == "never":
            return Decision("skip", "The policy learns the first span alone.", ())
        decision = decide(
            span.number, champion, past, span.sequences.new_events, len(span.verdict), config.gate.min_verdict_events,
            config.update.max_owed_spans, config.update.retrain_spans, self._rules,
            self._measure(rows, learned, metrics),
            backoff=next_backoff(rows[-1].verdict if rows else None, self._rules.after_refusal, config.data.dated),
        )  # fmt: skip
        if decision.action == "fine_tune" and self._policy.learn == "retrain":
            recent = (*past, span.number)[-config.update.retrain_spans :]
            return Decision("retrain", "The policy learns every span with those before it.", recent)
        return decision

    @property
    def _backs_off(self) -> bool:
        """Whether a verdict changes the learning at all."""
        rules = self._rules.after_refusal
        return self._policy.learn == "fine_tune" and Backoff(rules.max_refusals, "").factors(rules) != UNCHANGED

    def _judge(
        self, decision: Decision, rows: Sequence[Row], learned: _Learned, champion: _Learned | None
    ) -> tuple[PastVerdict | None, dict[str, float]]:
        """What the gate would say of the candidate for the span after `rows`, and its levels there.

        In service it goes whatever that is.
        """
        if not self._backs_off:
            return None, {}
        span, last = self._spans[len(rows)], champion.state.learned[-1] if champion is not None else 0
        past = [(of, row.levels) for of, row in zip(self._spans, rows, strict=False) if of.number < last and row.levels]
        signatures = self._signature(learned), champion and self._signature(champion)
        (lesson, against), levels = judged(self._policy.config, *signatures, span, past, self._given.weighted)
        verdict = PastVerdict(span.number, decision.action in FROM_NOTHING, lesson, against, decision.backoff)
        return verdict, dict(levels)

    def _measure(self, rows: Sequence[Row], learned: _Learned | None, metrics: dict[str, float]) -> Signals:
        if self._policy.learn != "fine_tune" or learned is None:
            return Signals()
        test_older = functools.partial(self._test_held_out, learned)
        return signals(self._policy.config, self._given, self._spans, rows, metrics, test_older)

    def _learn(
        self, decision: Decision, span: PreparedSpan, learned: _Learned | None
    ) -> tuple[_Learned, int, int, float]:
        teacher, examples, seconds = self._teach(decision, span, learned)
        of = self._given.trainer.teacher
        how: dict[str, Any] = {
            "policy": backed_off(self._training, decision.factors),
            "memory": learned.memory if learned is not None else None,
            "teacher": None if of is None or teacher is None else functools.partial(Teacher.of_rows, of, teacher),
        }
        owed = [of for of in self._spans if of.number in set(decision.train_on)]
        if learned is not None and decision.action == "fine_tune":
            days = [of.day(of, self._spec) for of in owed]
            result = catch_up(self._spec, days, base=learned.state, **how)
        else:
            result = learn_at_once(self._spec, [span.day(of, self._spec) for of in owed], **how)
        after = _Learned(result.model, result.state, result.memory, teacher)
        return after, result.examples + examples, result.epochs, result.seconds + seconds

    def _teach(
        self, decision: Decision, span: PreparedSpan, learned: _Learned | None
    ) -> tuple[ModelState | None, int, float]:
        """The teacher of the span, and what was trained on for it, in examples and seconds; 0 where it is not due."""
        how, before = self._given.teacher, None if learned is None else learned.teacher
        if how is None:
            return None, 0, 0.0
        past = [earlier.number for earlier in self._spans if earlier.number < span.number]
        refresh = due_refresh(
            span.number,
            past[-how.most :],
            None if before is None else before.learned[-1],
            how.every,
            how.most,
            how.recent,
            decision.action in FROM_NOTHING,
        )
        if refresh is None:
            return before, 0, 0.0
        model, numbers = how.trainer.model, set(refresh.train_on)
        result = learn_at_once(
            model,
            [span.day(of, model) for of in self._spans if of.number in numbers],
            dataclasses.replace(how.trainer.policy, seed=self._seed),
            base=None if refresh.from_nothing else before,
        )
        return result.state, result.examples, result.seconds

    def _fingerprint(self, span: PreparedSpan) -> str:
        return hashlib.sha256(f"{self._how}{span.fingerprint}".encode()).hexdigest()

    def _keep(self, span: PreparedSpan, rows: Sequence[Row], learned: _Learned | None) -> Path:
        kept = self._folder / span.name
        with atomic_folder(kept) as beside:
            if learned is not None:
                learned.state.save(beside / _STATE)
                learned.memory.save(beside / _MEMORY)
                if learned.teacher is not None:
                    learned.teacher.save(beside / _TEACHER)
            self._write_rows(beside, rows)
        for old in self._folder.iterdir():
            if old != kept:
                shutil.rmtree(old)
        return kept

    def _write_rows(self, folder: Path, rows: Sequence[Row]) -> None:
        with atomic_write(folder / _ABOUT) as beside:
            beside.write_text(json.dumps([dataclasses.asdict(row) for row in rows]))

    def _kept(self) -> tuple[list[Row], Path | None]:
        """The rows that hold for the same settings and events, and where they lie with what was learned by then."""
        for folder in self._folder.glob("[!.]*") if self._folder.is_dir() else ():
            rows = [Row.from_dict(raw) for raw in json.loads((folder / _ABOUT).read_text())]
            expected = [self._fingerprint(span) for span in self._spans]
            both = min(len(rows), len(expected))
            if [row.fingerprint for row in rows[:both]] == expected[:both]:
                return rows, folder
        return [], None

    def _load(self, folder: Path) -> _Learned | None:
        if not (folder / _STATE).is_dir():
            return None
        state = ModelState.load(folder / _STATE)
        teacher = ModelState.load(folder / _TEACHER) if (folder / _TEACHER).is_dir() else None
        return _Learned(rebuild(self._spec, state), state, ReplayMemory.load(folder / _MEMORY), teacher)
