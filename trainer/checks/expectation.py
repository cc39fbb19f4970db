"""How a check speaks: what is expected, what was received, what to do."""

from __future__ import annotations

import numpy as np


class CheckError(AssertionError):
    """A model or a policy breaks the contract; the message says where and what to do."""


def expect(holds: object, rule: str, received: object, then: str) -> None:
    """Nothing if `holds`.

    Raises:
      CheckError: it does not.
    """
    if not holds:
        raise CheckError(f"{rule} Received: {received}. {then}")


def expect_close(values: np.ndarray, expected: np.ndarray, rule: str, then: str, rtol: float = 1e-4) -> None:
    """Nothing if all `values` are `expected`, but for rounding; `rtol` 0 is bit for bit.

    Raises:
      CheckError: one is not, or the shapes differ.
    """
    expect(values.shape == expected.shape, rule, f"shape {values.shape} instead of {expected.shape}", then)
    same = np.isclose(values, expected, rtol, atol=1e-5) if rtol else values == expected
    if not same.all():
        at = tuple(int(place) for place in np.argwhere(~same)[0])
        raise CheckError(f"{rule} Received: {values[at]} instead of {expected[at]} at {list(at)}. {then}")


def expect_finite(values: np.ndarray, rule: str, then: str) -> None:
    """Nothing if every value is a finite number.

    Raises:
      CheckError: one is not.
    """
    wrong = values[~np.isfinite(values)]
    expect(not wrong.size, rule, f"{wrong.size} of {values.size} that are not, the first {wrong[:1]}", then)
