"""Replays past spans under several update policies, without TFX, and says what each is worth and costs."""

from pipeline.backtest.comparison import BacktestError, Result, backtest
from pipeline.backtest.policies import BUILT_IN, Policy, find_policies
from pipeline.backtest.policy_selection import Winner, settings_of
from pipeline.backtest.retention import DEFAULT_SPANS

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
