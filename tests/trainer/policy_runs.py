"""Every update policy, for the contract suite and its second process.

As a program, `python -m tests.trainer.policy_runs FOLDER` reads what the first update of each policy left in FOLDER and
makes the second, whose weights it writes beside.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

from tests.trainer.small_model import SPEAKING
from trainer.checks import PolicyCase
from trainer.checks.policy_case import day
from trainer.checks.policy_checks import load, save
from trainer.settings import (
    AveragingSettings,
    DistillationSettings,
    EwcSettings,
    PartialSettings,
    Policy,
    ProximalSettings,
    ReplaySettings,
    Schedule,
    ShrinkSettings,
    Stability,
)

_SMALL = (SPEAKING, {})
_SASREC = ("sasrec", {"dimension": 4, "neighbours": 4, "reverse": False})
_REPLAY = ReplaySettings(budget=8)
_DISTIL = DistillationSettings(weight=0.5, temperature=2.0, candidates=5)
_ADER = dataclasses.replace(_DISTIL, adaptive=True, batches="replayed")
_PROXIMAL = ProximalSettings(strength=0.1)
_EWC = EwcSettings(strength=10.0, sample=20)


def _case(model: tuple, schedule: Schedule | None = None, parts: dict | None = None, **policy: object) -> PolicyCase:
    how = {"epochs": 2, "batch_size": 8, "seed": 5, **policy}
    return PolicyCase(Policy(**how, schedule=schedule or Schedule(), stability=Stability(**(parts or {}))), *model)


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
    "sequences": _case(_SASREC, Schedule(row_boost=3.0), optimizer="adam", learning_rate=0.01),
    "sequences, all together": _case(
        _SASREC, Schedule(within="plateau", slots="decay"), {**_ALL, "distillation": _ADER}, optimizer="adam"
    ),
}


def main(folder: Path) -> None:
    for name, case in POLICIES.items():
        save(case.run({1: day(1)}, load(folder / name / "first")), folder / name / "elsewhere")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
