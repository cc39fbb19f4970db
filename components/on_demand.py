"""A component's package gives its class to who asks for it alone: settings and files do not wait for TFX."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any


def on_demand(package: str, **modules: str) -> Callable[[str], Any]:
    """The `__getattr__` of a package (PEP 562): each name is imported from its module when it is first asked for."""

    def load(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{modules[name]}"), name)

    return load
