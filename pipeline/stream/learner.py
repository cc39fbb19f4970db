"""A copy of the champion that learns one mini-batch after the other, and what is served of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from components.incremental_trainer.artifact_files import MEMORY_FILE, STATE_FOLDER
from components.incremental_trainer.catalogue_items import read_catalogue, served_items, told_features
from components.incremental_trainer.export import catalogue_of, export
from components.incremental_trainer.item_columns import item_columns
from components.incremental_trainer.new_items import keep_places
from components.incremental_trainer.query_features import features_of_manifest, query_state, request_features
from components.incremental_trainer.settings import Settings
from components.span_transform.vocabulary_growth import Vocabularies
from pipeline.config.stream import Stream
from pipeline.stream.base import Base
from serving.bundle.validation import validate
from trainer.features.item_features import ItemFeatures
from trainer.input_pipeline import Positions, Sequences, read_held_out
from trainer.models.base import Recommender, TableSizes
from trainer.settings import Policy, Schedule
from trainer.stability.replay_memory import ReplayMemory
from trainer.train_state import ModelState
from trainer.update import Span, rebuild, update


class Learner:
    """Keeps what does not change within the day: the champion's catalogue, features and replay memory.

    Args:
      base: what the copy was made of.
      settings: of the nightly trainer.
      stream: of the stream.
    """

    def __init__(self, base: Base, settings: Settings, stream: Stream) -> None:
        self._base, self._settings = base, dataclasses.replace(settings, log_folder=None)
        self._policy = within_the_day(settings.policy, stream)
        self._memory = None if base.memory is None else ReplayMemory.load(base.memory / MEMORY_FILE)
        self._sold = None if base.catalogue is None else read_catalogue(base.catalogue)
        self._asked = query_state(base.vocabulary, settings)
        self._nothing = read_held_out([])[0]

    def champion(self) -> ModelState:
        """What the copy begins as."""
        return ModelState.load(self._base.model / STATE_FOLDER)

    def model_of(self, state: ModelState) -> Recommender:
        return rebuild(self._settings.model, state)

    def learn(
        self, state: ModelState, sequences: Sequences, span: int, vocabularies: Vocabularies
    ) -> tuple[Recommender, ModelState]:
        """The copy after a mini-batch of the span, and its state."""
        items, keys = vocabularies.items, vocabularies.keys
        features = self._features(vocabularies)
        of_queries = self._asked.sizes(self._settings.model.query_features or ())
        words = (*(() if features is None else features.sizes), *of_queries)
        result = update(
            spec=self._settings.model,
            sizes=TableSizes(items.size, keys.size, items.first_row, words, vocabularies.numbering),
            spans=[Span(span, sequences)],
            held_out=self._nothing,
            popularity=np.concatenate([np.zeros(items.first_row), items.recent]),
            policy=self._policy,
            base=state,
            memory=self._memory,
            features=features,
            knots={name: numbers.knots() for name, numbers in self._asked.numbers.items()},
        )
        learned = tuple(sorted({*state.learned, span}))
        return result.model, dataclasses.replace(result.state, learned=learned)

    def export(
        self,
        state: ModelState,
        vocabularies: Vocabularies,
        held_out: Positions,
        examples: Sequence[bytes],
        folder: Path,
        about: dict[str, Any],
        latency_budget_ms: float,
    ) -> str:
        """Writes the bundle and asks it, as before a nightly push; returns why it must not be served, or nothing."""
        items, keys, settings = vocabularies.items, vocabularies.keys, self._settings
        columns, available = item_columns(items.ids, settings)
        if self._sold is not None:
            served = served_items(self._sold, items.ids, settings)
            available = served if available is None else available & served
        catalogue = catalogue_of(items, keys, columns, available)
        model = self.model_of(state)
        kept, _ = keep_places(model, self._sold, items, available, held_out, settings)
        about = {
            **about,
            "model": settings.model.type,
            "learned": list(state.learned),
            "vocabulary": {"items": items.fingerprint, "keys": keys.fingerprint},
            **features_of_manifest(settings),
        }
        asked = request_features(self._asked, settings)
        exported = export(model, catalogue, held_out, examples, settings, folder, about, asked, kept)
        return validate(folder, exported.reference, latency_budget_ms).refusal

    def _features(self, vocabularies: Vocabularies) -> ItemFeatures | None:
        if self._sold is None:
            return None
        encodings = list(self._base.encodings)
        features = told_features(self._sold, vocabularies.items, self._base.vocabulary, self._settings, encodings)
        # What items get in their first days is learned by whole spans: a mini-batch would be taken for a poor day.
        return None if features is None else dataclasses.replace(features, launches=None)


def within_the_day(policy: Policy, stream: Stream) -> Policy:
    """The nightly policy for a mini-batch, which is the part of a span and not a span.

    What is done once at the start or the end of a span is left out: a warm-up, a reset of the accumulators, shrinking,
    averaging, a choice of rate, the average of what the spans depend on. There is no teacher either. Nothing is
    compiled: of every update anew that takes longer than its few steps.
    """
    stability = dataclasses.replace(
        policy.stability,
        shrink=type(policy.stability.shrink)(),
        averaging=type(policy.stability.averaging)(),
        # A mini-batch is not a span that the next ones are to hold.
        ewc=dataclasses.replace(policy.stability.ewc, decay=1.0),
    )
    rate = policy.schedule.rates[len(policy.schedule.rates) // 2] if policy.schedule.rates else policy.learning_rate
    return dataclasses.replace(
        policy,
        epochs=stream.epochs,
        cold_epochs=None,
        learning_rate=rate * stream.rate,
        jit_compile=False,
        schedule=Schedule(),
        stability=stability,
    )
