"""The revision of a tuned encoder that texts are encoded with, in the folder of its artifact."""

from __future__ import annotations

from pathlib import Path

from components.item_encoder.sharing import share

PUBLISHED = "published"


def published_folder(tuned: str | Path) -> str | None:
    """Where it lies (see `TunedWeights`); None where none is published: the encoder encodes as it is."""
    folder = Path(tuned) / PUBLISHED
    return str(folder) if folder.exists() else None


def share_published(source: str | Path, target: str | Path) -> None:
    """Puts the revision of one tuned encoder's folder into another's: it is never changed."""
    for file in sorted((Path(source) / PUBLISHED).iterdir()):
        (Path(target) / PUBLISHED).mkdir(parents=True, exist_ok=True)
        share(file, Path(target) / PUBLISHED / file.name)
