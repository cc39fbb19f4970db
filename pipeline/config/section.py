"""What all sections of the settings have in common."""

from __future__ import annotations

import pydantic


class Section(pydantic.BaseModel):
    """Can't be changed, and knows each of its settings."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")
