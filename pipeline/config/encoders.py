"""The section `encoders` of the settings: by which encoders the catalogue's texts become vectors."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import pydantic

from pipeline.config.section import Section
from trainer.encoders.tuning_settings import Tuning


class Encoder(Section):
    """A BERT-like encoder in Hugging Face's layout (docs/text.md).

    `path`: its folder. `max_tokens`: the rest of a text is cut off. `batch`: most texts that are run together.
    `prefix`: what its authors put before every text. `keep_unused`: after how many spans without an item a text's
    vector is dropped. `tuning`: how it learns from what follows what; None for an encoder that stays as it is.
    """

    path: Path
    max_tokens: int = pydantic.Field(default=64, ge=3)
    batch: int = pydantic.Field(default=64, ge=1)
    prefix: str = ""
    keep_unused: int = pydantic.Field(default=30, ge=0)
    tuning: Tuning | None = None


def _named(value: dict[str, Encoder]) -> dict[str, Encoder]:
    if wrong := [name for name in value if not re.fullmatch(r"[a-z][a-z0-9_]*", name)]:
        raise ValueError(
            "must name encoders by small letters, digits and _, from a letter on. "
            f"Received: {', '.join(map(repr, wrong))}."
        )
    return value


Encoders = Annotated[dict[str, Encoder], pydantic.AfterValidator(_named)]
