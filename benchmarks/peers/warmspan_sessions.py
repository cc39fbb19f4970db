"""warmspan's own update of `sasrec`, a span after the other; `policy: joint` retrains on all sessions each time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.continual_sessions import learn_cycle
from benchmarks.peers.peer import Peer, Sessions, joined
from benchmarks.session_policies import POLICIES
from benchmarks.session_spans import SessionSpans
from trainer.input_pipeline import Positions
from trainer.keras2 import tf
from trainer.metrics import mask_scores

_AT_ONCE = 256


class System(Peer):
    """By the settings that `warmspan init` writes for sessions (`best`, or another of `session_policies`)."""

    past: tuple[Sessions, ...] = ()

    def __init__(self, seed: int, policy: str = "best", **settings: Any) -> None:
        super().__init__(seed, **settings)
        self._policy = POLICIES[policy]
        self._state, self._memory = None, None

    def learn(self, new: Sequence[Sessions]) -> None:
        for sessions in new:
            self.past = (*self.past, sessions)
            if not self._policy.joint:
                self._learn_last()
        if self._policy.joint:
            self._learn_last()

    def _learn_last(self) -> None:
        first_session = np.cumsum([0, *(len(sessions) for sessions in self.past)])
        every = joined(self.past)
        spans = SessionSpans(every.items, every.splits, first_session)
        learned = learn_cycle(spans, self._policy, self.seed, len(self.past), self._state, self._memory, None)
        self._model, self._state, self._memory = learned.model, learned.state, learned.memory

    def recommend(self, asked: Sessions, k: int) -> np.ndarray:
        model, count = self._model, len(asked)

        @tf.function
        def best(batch: dict[str, tf.Tensor]) -> tf.Tensor:
            scores = mask_scores(model.score_all(batch["key"], batch["history"]), model.sizes.first_row)
            return tf.math.top_k(scores, k).indices

        nothing = np.zeros(count, np.int64)
        positions = Positions(
            asked.items, asked.splits[:-1], asked.splits[1:], nothing, nothing, np.ones(count, np.float32), nothing
        )
        batches = positions.dataset(_AT_ONCE, self._policy.spec.history_length)
        graph = best.get_concrete_function(batches.element_spec)
        return np.concatenate([graph(batch).numpy() for batch in batches])
