"""RecBole's sequential models, trained anew on all sessions each time.

https://recbole.io/docs/user_guide/model/sequential/sasrec.html

Its atomic files of sequences hold every prefix of every session, as its own augmentation makes them; a tenth of the
sessions is held out for its early stopping. It has no way to take items that were not in the dataset it was made for.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.data.interaction import Interaction
from recbole.utils import get_model, get_trainer, init_seed

from benchmarks.peers.peer import Peer, Sessions, joined

_HELD_OUT = 0.1
_LENGTH = 20
_SETTINGS: dict[str, Any] = {
    "MAX_ITEM_LIST_LENGTH": _LENGTH,
    "load_col": {"inter": ["user_id", "item_id_list", "item_id"]},
    "alias_of_item_id": ["item_id_list"],
    "benchmark_filename": ["train", "valid", "valid"],
    "train_neg_sample_args": None,
    "loss_type": "CE",
    "show_progress": False,
    "state": "ERROR",
    "save_dataset": False,
}


class System(Peer):
    """`model` is the name of one of its models; the rest is as its documentation has it, but for `settings`."""

    past: tuple[Sessions, ...] = ()

    def learn(self, new: Sequence[Sessions]) -> None:
        self.past = (*self.past, *new)
        with tempfile.TemporaryDirectory() as folder:
            self._write(Path(folder) / "sessions")
            changed = {**_SETTINGS, **self.settings, "data_path": folder, "checkpoint_dir": folder, "seed": self.seed}
            config = Config(model=changed.pop("model"), dataset="sessions", config_dict=changed)
            init_seed(self.seed, reproducibility=True)
            dataset = create_dataset(config)
            train, valid, _ = data_preparation(config, dataset)
            self.model = get_model(config["model"])(config, train.dataset)
            trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, self.model)
            trainer.fit(train, valid, show_progress=False)
            self.model.load_state_dict(torch.load(trainer.saved_model_file)["state_dict"])
        tokens = dataset.field2id_token["item_id"]
        self.items = np.array([0, *(int(token) for token in tokens[1:])], np.int64)

    def recommend(self, asked: Sessions, k: int) -> np.ndarray:
        row_of = np.zeros(max(self.items.max(), asked.items.max(initial=0)) + 1, np.int64)
        row_of[self.items] = np.arange(len(self.items))
        history = row_of[asked.padded(_LENGTH)]
        length = np.minimum(np.diff(asked.splits), _LENGTH)
        top = np.zeros((len(asked), k), np.int64)
        self.model.eval()
        with torch.no_grad():
            for begin in range(0, len(asked), 256):
                part = slice(begin, begin + 256)
                batch = Interaction(
                    {"item_id_list": torch.tensor(history[part]), "item_length": torch.tensor(length[part])}
                )
                scores = self.model.full_sort_predict(batch)
                scores[:, 0] = -np.inf
                top[part] = self.items[torch.topk(scores, k).indices.numpy()]
        return top

    def _write(self, folder: Path) -> None:
        every = joined(self.past)
        held_out = np.random.default_rng(self.seed).random(len(every)) < _HELD_OUT
        histories, targets = every.prefixes()
        of_held_out = np.repeat(held_out, np.maximum(np.diff(every.splits) - 1, 0))
        session = np.repeat(np.arange(len(every)), np.maximum(np.diff(every.splits) - 1, 0))
        padded = histories.padded(_LENGTH)
        folder.mkdir()
        for name, chosen in (("train", ~of_held_out), ("valid", of_held_out)):
            with open(folder / f"sessions.{name}.inter", "w", encoding="utf-8") as file:
                file.write("user_id:token\titem_id_list:token_seq\titem_id:token\n")
                for at in np.flatnonzero(chosen):
                    before = " ".join(str(item) for item in padded[at] if item)
                    file.write(f"{session[at]}\t{before}\t{targets[at]}\n")
