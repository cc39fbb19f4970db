"""When what was tuned is published."""

from __future__ import annotations

import dataclasses
import math


@dataclasses.dataclass(frozen=True)
class Publication:
    """Whether what was tuned is published now, and why."""

    now: bool
    reason: str


def publication(
    span: int, from_nothing: bool, since: int, tried: int, every: int, before: float, after: float
) -> Publication:
    """Decides on one span. Depends on its arguments alone.

    A revision means that every text is encoded anew, so that there is one every few spans only; where the model begins
    from nothing that has to be done anyway, and nothing was learned yet of other vectors.

    Args:
      span: the span's number.
      from_nothing: whether the model begins with fresh weights.
      since: the span in which the present revision was published, or, where there is none, tuning began.
      tried: the last span in which any was, also one whose candidate was refused or taken back.
      every: spans from one revision to the next.
      before: the loss on held-out positions of the present revision, or of the encoder as it is; NaN without any.
      after: likewise, of what was tuned.
    """
    if not from_nothing and (age := span - max(since, tried)) < every:
        refused = ", whose candidate is not in service" if tried > since else ""
        return Publication(False, f"Not due: the last revision is {age} back{refused} (every {every}).")
    if not (math.isfinite(before) and math.isfinite(after)):
        return Publication(False, "There are no held-out texts to compare it on.")
    compared = f"held-out loss {after:.4f}, that of the present encoder {before:.4f}"
    if after >= before:
        return Publication(False, f"It is due and no better: {compared}.")
    return Publication(True, f"{'The model begins from nothing' if from_nothing else 'It is due'}: {compared}.")
