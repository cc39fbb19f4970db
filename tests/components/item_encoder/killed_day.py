"""A day of the encoding that may be killed in its middle."""

from __future__ import annotations

import shutil
from pathlib import Path

from components.artifacts import ItemEncodings
from tests.components.item_encoder.catalogue_days import run_day, settings_of


def texts(span: int) -> dict[str, str]:
    return {f"i{number}": f"text {number + span * (number % 2)}" for number in range(12)}


def second_day(folder: str) -> None:
    """Day 2, after the day 1 that lies there."""
    base, yesterday = Path(folder), ItemEncodings()
    yesterday.uri = str(base / "encodings-1")
    shutil.rmtree(base / "catalogue-2", ignore_errors=True)
    run_day(base, 2, texts(2), settings_of(base / "encoder", rows_per_shard=4), [yesterday])
