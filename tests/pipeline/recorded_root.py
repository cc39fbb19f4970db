"""A root as an earlier warmspan left it: three days of a small shop.

`recorded_root.tar.xz` holds the folder: its settings, four days of files, and `run/` with logs that are cut short.
It was written before the packages were laid out by concern.
"""

from __future__ import annotations

import sqlite3
import tarfile
from pathlib import Path

from pipeline.config import Config, load_config

RECORDED_AT = "/warmspan-recorded"
VERSIONS = (2024050101, 2024050201, 2024050301)
NEXT_DAY = "2024-05-04"
_ARCHIVE = Path(__file__).with_suffix(".tar.xz")
_ADDRESSES = (("Artifact", "uri"), ("ArtifactProperty", "string_value"), ("ExecutionProperty", "string_value"))


def unpack(folder: Path) -> Config:
    """Puts the recorded folder where `folder` says, and its address in ML Metadata and in its files right."""
    with tarfile.open(_ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    for path in [*folder.rglob("eval_config.json"), *folder.rglob("*.log")]:
        path.write_text(path.read_text().replace(RECORDED_AT, str(folder)))
    store = sqlite3.connect(folder / "run" / "metadata.sqlite")
    with store:
        for table, column in _ADDRESSES:
            store.execute(f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (RECORDED_AT, str(folder)))
    store.close()
    return load_config(folder / "warmspan.yaml")
