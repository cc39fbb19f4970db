"""Replays past spans under several update policies, without TFX, and says what each is worth and costs."""

from pipeline.backtest.compare import BacktestError, Result, backtest
from pipeline.backtest.policies import BUILT_IN, Policy, find_policies
from pipeline.backtest.retention import DEFAULT_SPANS
from pipeline.backtest.winner import Winner, settings_of

__all__ = [
    "BUILT_IN",
    "DEFAULT_SPANS",
    "BacktestError",
    "Policy",
    "Result",
    "Winner",
    "backtest",
    "find_policies",
    "settings_of",
]
