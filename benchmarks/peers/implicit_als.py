"""implicit's alternating least squares, fitted anew on all sessions each time; a session is a user.

https://benfred.github.io/implicit/api/models/cpu/als.html
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse
from implicit.als import AlternatingLeastSquares

from benchmarks.peers.peer import Peer, Sessions, joined


class System(Peer):
    """Whom it never saw it is asked for by what they did: `recalculate_user`."""

    past: tuple[Sessions, ...] = ()

    def learn(self, new: Sequence[Sessions]) -> None:
        self.past = (*self.past, *new)
        every = joined(self.past)
        self.items = int(every.items.max()) + 1
        self.model = AlternatingLeastSquares(random_state=self.seed, **self.settings)
        self.model.fit(self._counts(every), show_progress=False)

    def recommend(self, asked: Sessions, k: int) -> np.ndarray:
        users = np.arange(len(asked))
        best, _ = self.model.recommend(
            users, self._counts(asked), N=k, filter_already_liked_items=False, recalculate_user=True
        )
        return best

    def _counts(self, sessions: Sessions) -> scipy.sparse.csr_matrix:
        cells = (np.ones(len(sessions.items), np.float32), (sessions.owner, sessions.items))
        return scipy.sparse.csr_matrix(cells, shape=(len(sessions), self.items))
