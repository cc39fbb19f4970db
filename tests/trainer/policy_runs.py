"""Three spans over a growing vocabulary and every update policy, for the contract suite and its second process.

As a program, `python -m tests.trainer.policy_runs FOLDER` reads what the first update of each policy left in FOLDER and
makes the second, whose weights it writes beside.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np

from tests.trainer.small_model import HISTORY, SPEAKING, held_out, random_sequences, sequences
from trainer.input_pipeline import Sequences
from trainer.models.base import TableSizes
from trainer.settings import (
    AveragingSettings,
    DistillationSettings,
    EwcSettings,
    ModelSpec,
    PartialSettings,
    Policy,
    ProximalSettings,
    ReplaySettings,
    Schedule,
    ShrinkSettings,
    Stability,
)
from trainer.stability.replay_memory import ReplayMemory
from trainer.train_state import ModelState
from trainer.update import Span, Update, update

SIZES = [TableSizes(12, 8, 2), TableSizes(15, 10, 2)]  # on the first and on the second day


@dataclasses.dataclass(frozen=True)
class Case:
    """A policy and the model that it is tried with."""

    spec: ModelSpec
    policy: Policy


_SMALL = ModelSpec(SPEAKING, {}, HISTORY)
_SASREC = ModelSpec("sasrec", {"dimension": 4, "neighbours": 4, "reverse": False}, HISTORY)
_REPLAY = ReplaySettings(budget=8)
_DISTIL = DistillationSettings(weight=0.5, temperature=2.0, candidates=5)
_ADER = dataclasses.replace(_DISTIL, adaptive=True, batches="replayed")
_PROXIMAL = ProximalSettings(strength=0.1)
_EWC = EwcSettings(strength=10.0, sample=20)


def _case(spec: ModelSpec, schedule: Schedule | None = None, parts: dict | None = None, **policy: object) -> Case:
    how = {"epochs": 2, "batch_size": 8, "seed": 5, **policy}
    return Case(spec, Policy(**how, schedule=schedule or Schedule(), stability=Stability(**(parts or {}))))


_ALL = {
    "replay": dataclasses.replace(_REPLAY, selection="herding"),
    "distillation": dataclasses.replace(_DISTIL, adaptive=True),
    "proximal": _PROXIMAL,
    "ewc": _EWC,
    "shrink": ShrinkSettings(0.9, 0.01),
    "averaging": AveragingSettings(0.7),
}
POLICIES = {
    "plain": _case(_SMALL),
    "replay": _case(_SMALL, parts={"replay": _REPLAY}),
    "recency": _case(_SMALL, parts={"replay": dataclasses.replace(_REPLAY, selection="recency", half_life=1.0)}),
    "frequency": _case(_SMALL, parts={"replay": dataclasses.replace(_REPLAY, selection="frequency")}),
    "herding": _case(_SMALL, parts={"replay": dataclasses.replace(_REPLAY, selection="herding")}),
    "distillation": _case(_SMALL, parts={"distillation": _DISTIL}),
    "proximal": _case(_SMALL, parts={"proximal": _PROXIMAL}),
    "elastic": _case(_SMALL, parts={"ewc": _EWC}),
    "partial": _case(
        _SMALL, parts={"partial": PartialSettings(("bias",), {"item/*": 0.1})}, optimizer="adam", weight_decay=0.1
    ),
    "shrink": _case(_SMALL, parts={"shrink": ShrinkSettings(0.5, 0.01)}),
    "averaging": _case(_SMALL, parts={"averaging": AveragingSettings(0.5)}),
    "cosine with reset": _case(_SMALL, Schedule(within="cosine", slots="reset")),
    "plateau with decay": _case(_SMALL, Schedule(within="plateau", slots="decay"), optimizer="adam"),
    "rates": _case(_SMALL, Schedule(rates=(0.01, 0.1), probe_steps=2)),
    "all together": _case(
        _SMALL, Schedule(within="cosine", slots="reset", rates=(0.001, 0.01), probe_steps=2), _ALL, optimizer="adam"
    ),
    "sequences": _case(_SASREC, optimizer="adam", learning_rate=0.01),
    "sequences, all together": _case(
        _SASREC, Schedule(within="plateau", slots="decay"), {**_ALL, "distillation": _ADER}, optimizer="adam"
    ),
}

EMPTY = sequences([])
ONLY_NEW_ITEMS = sequences([(3, [12, 13, 14], 0), (9, [14, 12], 0)])


def day(number: int) -> Sequences:
    """The sequences of span 0 or 1, rows of that day's vocabulary."""
    return random_sequences(SIZES[number], 20, seed=number)


def run(case: Case, spans: dict[int, Sequences], before: Update | tuple[ModelState, ReplayMemory] | None) -> Update:
    """The update of the spans by number, on what the one before left."""
    state, memory = (before.state, before.memory) if isinstance(before, Update) else before or (None, None)
    sizes = SIZES[min(max(spans), 1)]
    watched, popularity = held_out(sizes, 6, seed=9), np.ones(sizes.items)
    owed = [Span(number, span) for number, span in spans.items()]
    return update(case.spec, sizes, owed, watched, popularity, case.policy, base=state, memory=memory)


def save(result: Update, folder: Path) -> None:
    result.state.save(folder / "state")
    result.memory.save(folder / "memory.npz")


def load(folder: Path) -> tuple[ModelState, ReplayMemory]:
    return ModelState.load(folder / "state"), ReplayMemory.load(folder / "memory.npz")


def main(folder: Path) -> None:
    for name, case in POLICIES.items():
        save(run(case, {1: day(1)}, load(folder / name / "first")), folder / name / "elsewhere")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
