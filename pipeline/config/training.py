"""The section `training` of the settings: which devices and machines share a night's training steps."""

from __future__ import annotations

from typing import Literal

import pydantic

from pipeline.config.features import Features
from pipeline.config.section import Section
from pipeline.config.update import Update


class Training(Section):
    """The replicas of `tf.distribute` among which each batch is shared out, by the name of the strategy.

    `none`: there is one, and nothing is shared. `mirrored`: the GPUs of this machine. `multi_worker`: the workers that
    TF_CONFIG names, of which a training may lose one `restarts` times and goes on where it was.

    Raises:
      ValueError: the strategy is one that rows of tables can't be learned by.
    """

    strategy: Literal["none", "mirrored", "multi_worker", "parameter_server"] = "none"
    restarts: int = pydantic.Field(default=3, ge=0)

    @pydantic.field_validator("strategy")
    @classmethod
    def _is_synchronous(cls, strategy: str) -> str:
        if strategy == "parameter_server":
            raise ValueError(
                "must be none, mirrored or multi_worker. Received: 'parameter_server', whose workers learn each at its "
                "own pace, so that one seed no longer gives one model, and whose sharded tables the saved state, which "
                "has a whole table by its name, does not know. Set multi_worker."
            )
        return strategy


def untried(update: Update, features: Features) -> list[str]:
    """The settings that were not held to a training on one replica yet, of those that are given."""
    given = {
        "`update.jit_compile`": update.jit_compile,
        "`update.precision`": update.precision != "float32",
        "`update.stability.replay`": update.stability.replay.budget > 0,
        "`update.stability.distillation`": update.stability.distillation.weight > 0,
        "`update.teacher`": update.teacher is not None,
        "`update.schedule.rates`": bool(update.schedule.rates),
        "`features`": bool(features.item or features.of_query),
    }
    return [setting for setting, is_given in given.items() if is_given]
