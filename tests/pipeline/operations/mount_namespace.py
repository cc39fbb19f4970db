"""Mounts that go with the process that makes them."""

from __future__ import annotations

import ctypes
import os
import subprocess

_CLONE_NEWNS = 0x20000
_MS_REC, _MS_PRIVATE = 0x4000, 0x40000


def enter_mount_namespace() -> None:
    """As unshare(1) with `--mount`, for this process and its children; takes the rights of root."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNS) or libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def mounted(script: str, **variables: str) -> None:
    """Runs a script of bash that mounts, in which `variables` are set."""
    subprocess.run(["bash", "-ec", script], check=True, env={**os.environ, **variables}, stdout=subprocess.DEVNULL)
