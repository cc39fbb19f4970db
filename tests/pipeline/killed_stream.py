"""The end of a mini-batch, for a process that is killed in its middle: what is kept of it, and what is served."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

from pipeline.config import Config, load_config
from pipeline.stream.folder import BUNDLES, newest
from pipeline.stream.journal import Entry, Part
from pipeline.stream.served import next_version, serve
from pipeline.stream.state import StreamState, commit, load
from tests.components.folder_changes import make_bundle

OOV_ROWS = 1


def learned(state: StreamState) -> int:
    """The copy of these tests has one weight, which counts what it has learned."""
    return int(state.copy.weights["counter"][0])


def state_of(config: Config) -> StreamState:
    """The last whole state."""
    last = newest(config.stream_path)
    assert last is not None
    return load(last, OOV_ROWS)


def end_batches(base: str, files: str) -> bool:
    """Learns each of `files` (with spaces between) that was not read yet as a mini-batch of its own, and serves it."""
    config = load_config(Path(base) / "warmspan.yaml")
    last = newest(config.stream_path)
    assert last is not None
    state = load(last, OOV_ROWS)
    nightly = state.journal.base
    if state.journal.version:  # as a stream does that goes on
        serve(config, nightly, state.journal.version)
    for name in files.split():
        if name in state.journal.read():
            continue
        version = next_version(config, nightly, state.journal.version)
        bundle = config.stream_path / BUNDLES / str(version)
        beside = bundle.with_name(f".{version}.partial")
        shutil.rmtree(bundle, ignore_errors=True)
        shutil.rmtree(beside, ignore_errors=True)
        make_bundle(beside, f"after {name}").rename(bundle)
        weights = {"counter": state.copy.weights["counter"] + 1}
        copy = dataclasses.replace(state.copy, weights=weights)
        number = len(state.journal.entries) + 1
        part = Part(1, name, f"digest of {name}", 0, 5, 5)
        entry = Entry(number, 0.0, (part,), 5, 0, 0, "pushed", version)
        state = dataclasses.replace(state, journal=state.journal.with_entry(entry), copy=copy, accepted=copy)
        last = commit(config, state, last)
        serve(config, nightly, version)
    return False
