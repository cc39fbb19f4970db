"""Servers written in Go that tests run against the real thing of, built from source once a checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import filelock
import pytest

_BUILD = Path(__file__).resolve().parents[1] / "build" / "go"
_SECONDS = 800  # of a test's 900; what is built by then lies in Go's cache for the next attempt


def go_program(module: str, version: str) -> Path:
    """The program of a module, whose path's last part is its name; the test is skipped where it can't be built."""
    name = module.rsplit("/", 1)[-1]
    folder = _BUILD / f"{name}-{version}"
    folder.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(folder / "lock"):
        if not (folder / name).exists():
            if shutil.which("go") is None:
                pytest.skip(f"{name} is built by Go, and no Go is installed (go.dev/dl)")
            environment = {**os.environ, "GOBIN": str(folder), "GOFLAGS": "-buildvcs=false"}
            try:
                subprocess.run(["go", "install", f"{module}@{version}"], check=True, env=environment, timeout=_SECONDS)
            except subprocess.TimeoutExpired:
                pytest.skip(f"{name} could not be built in {_SECONDS} s; the next run goes on with it")
    return folder / name
