"""What is measured: warmspan, and what somebody could pick instead."""

from __future__ import annotations

import dataclasses
import io
import tokenize
from pathlib import Path
from typing import Any


@dataclasses.dataclass(frozen=True)
class System:
    """A system under its settings.

    Attributes:
      module: the file of this folder that speaks to it.
      environment: whose packages it needs; None for the project's own.
      retrains: whether it begins from nothing each time, for want of a way to take new items or as it is told to.
      settings: what is not left at its documented defaults.
      random: whether a seed makes a difference.
    """

    module: str
    environment: str | None = None
    retrains: bool = True
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    random: bool = True

    @property
    def lines(self) -> int:
        """Lines of code in `module`, without comments, docstrings and blank lines: what a user would write."""
        source = (Path(__file__).parent / f"{self.module}.py").read_text(encoding="utf-8")
        skipped = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING}
        counted, begins = set(), True
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.STRING and begins:  # a docstring
                continue
            if token.type not in skipped and token.type != tokenize.ENDMARKER:
                counted.update(range(token.start[0], token.end[0] + 1))
            begins = token.type in {tokenize.NEWLINE, tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING}
        return len(counted)


# "Searched" are settings of a peer that were best on the first two cycles of `diginetica`, among a dozen.
SYSTEMS = {
    "warmspan": System("warmspan_sessions", retrains=False),
    "warmspan, full retrain": System("warmspan_sessions", settings={"policy": "joint"}),
    "V-SkNN": System("without_training", retrains=False, settings={"name": "v_sknn"}, random=False),
    "sequential rules": System("without_training", retrains=False, settings={"name": "sequential_rules"}, random=False),
    "implicit ALS": System("implicit_als", "implicit"),
    "implicit ALS, searched": System("implicit_als", "implicit", settings={"factors": 512, "alpha": 100.0}),
    "RecTools SASRec": System("rectools_sasrec", "rectools"),
    "RecBole SASRec": System("recbole_sequential", "recbole", settings={"model": "SASRec"}),
    "RecBole GRU4Rec": System("recbole_sequential", "recbole", settings={"model": "GRU4Rec"}),
}
