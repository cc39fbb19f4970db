"""The libraries of the extra `text`, imported when an encoder is first read."""

from __future__ import annotations

import importlib
from types import ModuleType


class MissingExtraError(ImportError):
    """A library of the extra `text` is not installed; the message says how to install it."""


def text_library(name: str) -> ModuleType:
    """Imports `tokenizers` or `safetensors`.

    Raises:
      MissingExtraError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise MissingExtraError(
            f"An encoder needs the library `{name}`, which comes with an extra. Received: an environment without it. "
            "Install it: pip install warmspan[text]"
        ) from None
