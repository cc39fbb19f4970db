"""RecTools' SASRec, fitted anew on all sessions each time; a session is a user.

https://rectools.readthedocs.io/en/stable/api/rectools.models.nn.transformers.sasrec.SASRecModel.html

It has a `fit_partial`, which goes on with the dataset of the first call alone: its source says that others are not
supported, because of the maps of ids. So it can't take tomorrow's items, and begins again.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from lightning_fabric import seed_everything
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import SASRecModel

from benchmarks.peers.peer import Peer, Sessions, joined


class System(Peer):
    """With its documented defaults, unless `settings` say otherwise."""

    past: tuple[Sessions, ...] = ()

    def learn(self, new: Sequence[Sessions]) -> None:
        self.past = (*self.past, *new)
        seed_everything(self.seed)
        self.model = SASRecModel(**self.settings)
        self.model.fit(_dataset(joined(self.past)))

    def recommend(self, asked: Sessions, k: int) -> np.ndarray:
        best = self.model.recommend(
            users=np.arange(len(asked)), dataset=_dataset(asked), k=k, filter_viewed=False,
            on_unsupported_targets="ignore",
        )  # fmt: skip
        top = np.zeros((len(asked), k), np.int64)
        top[best[Columns.User].to_numpy(), best[Columns.Rank].to_numpy() - 1] = best[Columns.Item].to_numpy()
        return top


def _dataset(sessions: Sessions) -> Dataset:
    return Dataset.construct(
        pd.DataFrame(
            {
                Columns.User: sessions.owner,
                Columns.Item: sessions.items,
                Columns.Weight: 1.0,
                Columns.Datetime: pd.to_datetime(np.arange(len(sessions.items)), unit="s"),
            }
        )
    )
