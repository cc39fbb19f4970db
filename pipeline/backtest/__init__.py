"""Replays past spans under several update policies, without TFX, and says what each is worth and costs."""

from pipeline.backtest.compare import BacktestError, backtest
from pipeline.backtest.policies import BUILT_IN, Policy, find_policies

__all__ = ["BUILT_IN", "BacktestError", "Policy", "backtest", "find_policies"]
