"""Puts a copy into the served folder, while the version that it comes from is the newest of the nights."""

from __future__ import annotations

import shutil
from pathlib import Path

from components.span_pusher.streamed_versions import base_of, locked, number_of, streamed_version
from components.span_pusher.version_folder import push, streamed, take_out, versions
from pipeline.config import Config
from pipeline.operations.publication import try_to_publish
from pipeline.stream.folder import BUNDLES

_KEPT = 2  # the one that is served, and the one before until every server has loaded it


def next_version(config: Config, base: int, last: int) -> int:
    """The version after `last` (0 for none), and after all of that base that lie in the folder."""
    own = [version for version in (last, *streamed(config.serving_path)) if version and base_of(version) == base]
    return streamed_version(base, max(map(number_of, own), default=0) + 1)


def bundle_folder(config: Config, version: int) -> Path:
    """Where a version's bundle lies until it is pushed, and as long as it may have to be pushed again."""
    return config.stream_path / BUNDLES / str(version)


def serve(config: Config, base: int, version: int) -> bool:
    """Pushes the bundle of `version`, 0 for none, and takes older streamed ones out; says whether it is in the folder.

    Nothing is pushed once another nightly version is the newest: then that one is to be served.

    Raises:
      PushError: the disk is full.
    """
    served = config.serving_path
    with locked(served):
        present = versions(served)
        if not present or present[-1] != base:
            return False
        if version and version not in streamed(served):
            push(bundle_folder(config, version), served, version, {})
        own = streamed(served)
        kept = own[-_KEPT:] if version else []
        take_out(served, [other for other in own if other not in kept])
    keep = {str(version)}
    for path in (config.stream_path / BUNDLES).glob("*"):
        if path.name not in keep:
            shutil.rmtree(path, ignore_errors=True)
    try_to_publish(config)  # the next mini-batch tries again
    return True
