"""The settings as the user writes them: a frozen, typed section a file, read once from one YAML file."""

from pipeline.config.config import Config, ConfigError
from pipeline.config.data import Columns, Data, RejectRule, Split
from pipeline.config.gate import Gate, Push, Threshold
from pipeline.config.loading import load_config, with_settings

__all__ = [
    "Columns",
    "Config",
    "ConfigError",
    "Data",
    "Gate",
    "Push",
    "RejectRule",
    "Split",
    "Threshold",
    "load_config",
    "with_settings",
]
