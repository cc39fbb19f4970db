"""Three spans over a growing vocabulary and every update policy, for the contract suite and its second process.

As a program, `python -m tests.trainer.policy_runs FOLDER` reads what the first update of each policy left in FOLDER and
makes the second, whose weights it writes beside.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from tests.trainer.small_model import HISTORY, SMALL, held_out, random_sequences, sequences
from trainer.input import Sequences
from trainer.models.base import TableSizes
from trainer.schedule import Schedule
from trainer.stability import ProximalSettings, ReplaySettings, Stability
from trainer.stability.replay import ReplayMemory
from trainer.state import ModelState
from trainer.update import ModelSpec, Policy, Span, Update, update

SPEC = ModelSpec(SMALL, {}, HISTORY)
SIZES = [TableSizes(12, 8, 2), TableSizes(15, 10, 2)]  # on the first and on the second day

_REPLAY = ReplaySettings(budget=8)
_PROXIMAL = ProximalSettings(strength=0.1)
_PLAIN = {"epochs": 2, "batch_size": 8, "seed": 5}
POLICIES = {
    "plain": Policy(**_PLAIN),
    "replay": Policy(**_PLAIN, stability=Stability(replay=_REPLAY)),
    "proximal": Policy(**_PLAIN, stability=Stability(proximal=_PROXIMAL)),
    "cosine": Policy(**_PLAIN, schedule=Schedule(within="cosine")),
    "reset": Policy(**_PLAIN, schedule=Schedule(slots="reset")),
    "decay with adam": Policy(**_PLAIN, optimizer="adam", schedule=Schedule(slots="decay")),
    "all together": Policy(
        **_PLAIN,
        optimizer="adam",
        learning_rate=0.01,
        stability=Stability(_REPLAY, _PROXIMAL),
        schedule=Schedule(within="cosine", slots="reset"),
    ),
}

EMPTY = sequences([])
ONLY_NEW_ITEMS = sequences([(3, [12, 13, 14], 0), (9, [14, 12], 0)])


def day(number: int) -> Sequences:
    """The sequences of span 0 or 1, rows of that day's vocabulary."""
    return random_sequences(SIZES[number], 20, seed=number)


def run(
    policy: Policy, number: int, span: Sequences, before: Update | tuple[ModelState, ReplayMemory] | None
) -> Update:
    """The update of span `number`, on what the one before left."""
    state, memory = (before.state, before.memory) if isinstance(before, Update) else before or (None, None)
    sizes = SIZES[min(number, 1)]
    watched, popularity = held_out(sizes, 6, seed=9), np.ones(sizes.items)
    return update(SPEC, sizes, [Span(number, span)], watched, popularity, policy, base=state, memory=memory)


def save(result: Update, folder: Path) -> None:
    result.state.save(folder / "state")
    result.memory.save(folder / "memory.npz")


def load(folder: Path) -> tuple[ModelState, ReplayMemory]:
    return ModelState.load(folder / "state"), ReplayMemory.load(folder / "memory.npz")


def main(folder: Path) -> None:
    for name, policy in POLICIES.items():
        save(run(policy, 1, day(1), load(folder / name / "first")), folder / name / "elsewhere")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
