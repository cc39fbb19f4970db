"""From one champion to the next: every mini-batch is learned, judged, kept with its entry, and served or not."""

from __future__ import annotations

import contextlib
import gc
import logging
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from components.incremental_trainer.artifact_files import STATE_FOLDER
from components.span_transform.vocabulary_growth import Vocabularies
from pipeline.config import Config
from pipeline.metrics import LOWER_IS_BETTER
from pipeline.parameters.graph_parameters import GraphParameters
from pipeline.stream.base import Base
from pipeline.stream.batch import Batch
from pipeline.stream.folder import newest
from pipeline.stream.journal import Entry, Journal, Outcome
from pipeline.stream.judge import Comparison, Rules, Scorer, Window, compare
from pipeline.stream.learner import Learner
from pipeline.stream.micro_transform import MicroBatch, MicroTransform, no_history
from pipeline.stream.served import bundle_folder, next_version, serve
from pipeline.stream.state import StreamState, commit, load
from trainer.train_state import ModelState

_log = logging.getLogger("warmspan.stream")


class Day:
    """From one champion to the next."""

    def __init__(self, config: Config, given: GraphParameters, base: Base, state: StreamState, folder: Path) -> None:
        self.base, self.state, self._folder = base, state, folder
        self._config, self._given, self._rules = config, given, rules_of(config)
        self._learner = Learner(base, given.trainer, config.stream)
        share = config.stream.verdict_share
        self._transform = MicroTransform(base.history, base.vocabulary, given.transform, share)
        self._champion = self._scorer(self._learner.champion())
        self._accepted = self._scorer(state.accepted)
        # A push that was cut off is ended.
        if state.journal.version and not serve(config, base.version, state.journal.version):
            _log.warning("The champion %d is not the newest version: nothing is pushed.", base.version)

    @classmethod
    def begin(cls, config: Config, given: GraphParameters, base: Base) -> Day:
        """Goes on where the last process stopped, if that began with this champion; else begins with the champion."""
        last = newest(config.stream_path)
        if last is not None:
            state = load(last, given.transform.oov_rows)
            if state.journal.identity == base.identity:
                _log.info("Going on after mini-batch %d of version %d.", len(state.journal.entries), base.version)
                return cls(config, given, base, state, last)
        champion = ModelState.load(base.model / STATE_FOLDER)
        state = StreamState(
            journal=Journal(base.identity, base.version),
            copy=champion,
            accepted=champion,
            vocabularies=Vocabularies.load(base.vocabulary, given.transform.oov_rows),
            history=no_history(given.transform),
            window=Window.empty(),
        )
        _log.info("Beginning with version %d; events after span %d are learned.", base.version, base.span)
        return cls(config, given, base, state, commit(config, state, last))

    def learn(self, batch: Batch) -> Entry:
        """Learns a mini-batch, judges, keeps what came of it, and serves it.

        Raises:
          DiscardedError: the state was removed by another command.
          PushError: the disk is full.
        """
        seconds, span = {"read": batch.seconds}, batch.span
        state, most = self.state, self._config.stream.verdict_events
        with _timed(seconds, "transform"):
            micro = self._transform.apply(batch.events, span, state.history, state.vocabularies)
        window = state.window.with_events(micro.positions, micro.keys, most)
        copy, version, scorer = state.copy, 0, self._accepted
        outcome: Outcome = "nothing to learn"
        before = against = Comparison("too few events", {})
        if micro.sequences.new_events:
            with _timed(seconds, "learn"):
                model, copy = self._learner.learn(state.copy, micro.sequences, span, micro.vocabularies)
            with _timed(seconds, "judge"):
                scorer = Scorer(model, self._given.trainer.k, self._given.trainer.exclude_seen)
                before, against = self._compare(window, scorer)
            outcome = _outcome(before, against)
        accepted = state.accepted
        if outcome == "pushed":
            with _timed(seconds, "export"):
                version, refusal = self._export(copy, micro, state, span)
            if refusal:
                _log.warning("A copy is not pushed. %s", refusal)
                outcome, version = "not fit", 0
            else:
                accepted = copy
        elif outcome == "thrown away":
            copy = state.accepted
        elif outcome == "back to the champion":
            copy = accepted = self._learner.champion()
        entry = Entry(
            number=len(state.journal.entries) + 1,
            time=time.time(),
            parts=batch.parts,
            learned=micro.sequences.new_events,
            judging=len(micro.keys),
            known=micro.known,
            outcome=outcome,
            version=version,
            against_before=str(before),
            against_champion=str(against),
            seconds=seconds,
        )
        journal = state.journal.with_entry(entry)
        after = StreamState(journal, copy, accepted, micro.vocabularies, micro.history, window)
        self._folder = commit(self._config, after, self._folder)
        self.state = after
        if outcome == "pushed":
            self._accepted = scorer
        elif outcome == "back to the champion":
            self._accepted = self._champion
        if not serve(self._config, self.base.version, journal.version):
            _log.warning("Version %d is not the newest any more: nothing is pushed.", self.base.version)
        # Models and graphs hold each other: left to Python's own time, each mini-batch leaves 40 MB behind.
        gc.collect()
        return entry

    def _compare(self, window: Window, scorer: Scorer) -> tuple[Comparison, Comparison]:
        """With the copy before and with the champion."""
        if len(window) < self._rules.min_events:
            little = Comparison("too few events", {})
            return little, little
        ours, weighted = scorer.follow(window), self._given.weighted
        before, against = (
            compare(window, ours, other.follow(window), self._rules, weighted)
            for other in (self._accepted, self._champion)
        )
        return before, against

    def _export(self, copy: ModelState, micro: MicroBatch, state: StreamState, span: int) -> tuple[int, str]:
        """The next version, and why it must not be served, or nothing."""
        version = next_version(self._config, self.base.version, state.journal.version)
        folder = bundle_folder(self._config, version)
        beside = folder.with_name(f".{folder.name}.partial")
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(beside, ignore_errors=True)
        about = {
            "span": span,
            "version": version,
            "parent": self.base.version,
            "streamed": {"champion": self.base.version, "batch": len(state.journal.entries) + 1},
        }
        budget = self._config.serving.latency_budget_ms
        refusal = self._learner.export(copy, micro.vocabularies, micro.positions, micro.examples, beside, about, budget)
        if not refusal:
            beside.rename(folder)
        return version, refusal

    def _scorer(self, state: ModelState) -> Scorer:
        trainer = self._given.trainer
        return Scorer(self._learner.model_of(state), trainer.k, trainer.exclude_seen)


def rules_of(config: Config) -> Rules:
    """What a copy may lose: as much as a nightly candidate."""
    gate = config.gate
    return Rules(
        max_drop={name: limit.max_drop for name, limit in gate.thresholds.items() if limit.max_drop is not None},
        lower_is_better=tuple(sorted(LOWER_IS_BETTER)),
        confidence=gate.confidence,
        min_events=gate.min_verdict_events,
        bless_little=gate.on_little_evidence == "bless",
    )


def _outcome(before: Comparison, against: Comparison) -> Outcome:
    if against.finding == "worse":
        return "back to the champion"
    if before.finding == "worse":
        return "thrown away"
    return "learned" if "too few events" in (before.finding, against.finding) else "pushed"


@contextlib.contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    seconds[name] = round(time.perf_counter() - began, 3)
