"""A root as an earlier warmspan left it: three days of a small shop.

`recorded_root.tar.xz` holds the folder: its settings, four days of files, and `run/` with logs that are cut short.
It was written before the packages were laid out by concern.
"""

from __future__ import annotations

import tarfile
from pathlib import Path

from pipeline.config import Config, load_config
from pipeline.operations.adoption import carry_out, make_adoption

RECORDED_AT = Path("/warmspan-recorded/run")
VERSIONS = (2024050101, 2024050201, 2024050301)
NEXT_DAY = "2024-05-04"
_ARCHIVE = Path(__file__).with_suffix(".tar.xz")


def extract(folder: Path) -> Path:
    """Puts the recorded folder where `folder` says, and no more; returns its settings file."""
    with tarfile.open(_ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder / "warmspan.yaml"


def unpack(folder: Path) -> Config:
    """Puts the recorded folder where `folder` says, and makes it whole there as a user would."""
    settings = extract(folder)
    config = load_config(settings, anywhere=True)
    planned = make_adoption(config)
    assert planned is not None
    carry_out(config, planned)
    return load_config(settings)
