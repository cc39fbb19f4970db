"""Partial updates: some variables stay as they are, others move slower or faster."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence

from trainer.keras2 import tf
from trainer.stability.base import PolicyError


def matching(variables: Mapping[str, tf.Variable], pattern: str, setting: str) -> list[str]:
    """Paths of the trainable variables that the glob `pattern` matches; `*` crosses slashes.

    Raises:
      PolicyError: there is none. `setting` is where the pattern stands.
    """
    paths = [path for path, variable in variables.items() if variable.trainable and fnmatch.fnmatchcase(path, pattern)]
    if not paths:
        known = sorted(path for path, variable in variables.items() if variable.trainable)
        raise PolicyError(
            f"A pattern in `{setting}` must match variables of the model, which are {', '.join(known)}. "
            f"Received: {pattern!r}."
        )
    return paths


def frozen(variables: Mapping[str, tf.Variable], patterns: Sequence[str]) -> list[tf.Variable]:
    """The variables that `patterns` match. They get no gradient: neither they nor their slots move.

    Yosinski et al., "How transferable are features in deep neural networks?", NeurIPS 2014, section 3 (frozen layers
    against fine-tuned ones).

    Raises:
      PolicyError: a pattern matches nothing, or nothing is left to be trained.
    """
    setting = "update.stability.partial.freeze"
    frozen_paths = {path for pattern in patterns for path in matching(variables, pattern, setting)}
    if frozen_paths and all(path in frozen_paths for path, variable in variables.items() if variable.trainable):
        raise PolicyError(f"`{setting}` must leave a variable to be trained. Received: {', '.join(patterns)}.")
    return [variables[path] for path in sorted(frozen_paths)]


def rates(variables: Mapping[str, tf.Variable], patterns: Mapping[str, float]) -> dict[str, float]:
    """The factor of each variable's learning rate, by path; where several patterns match, the last one's.

    Howard and Ruder, "Universal language model fine-tuning for text classification", ACL 2018, section 3.2
    ("discriminative fine-tuning", eq. 2).

    Raises:
      PolicyError: a pattern matches nothing.
    """
    setting = "update.stability.partial.rates"
    return {path: factor for pattern, factor in patterns.items() for path in matching(variables, pattern, setting)}
