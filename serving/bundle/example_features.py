"""The features of one example, as the REST API and a SavedModel's `Predict` take them."""

from __future__ import annotations

from typing import Any

Feature = tuple[str, list[Any]]
Example = dict[str, Feature]
