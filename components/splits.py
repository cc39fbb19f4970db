"""The files of an Examples artifact."""

from __future__ import annotations

from pathlib import Path

from tfx.types import artifact, artifact_utils


def split_files(examples: artifact.Artifact, split: str) -> list[str]:
    """The record files of one split, in name order."""
    return sorted(str(path) for path in Path(artifact_utils.get_split_uri([examples], split)).glob("*.gz"))
