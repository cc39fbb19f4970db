"""A gc that is killed anywhere leaves all that is needed, and the next one ends it."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest

from components.span_pusher.version_folder import drop_old
from pipeline.config import load_config
from pipeline.ledger.artifacts import read_artifacts
from pipeline.ledger.models import read_model_lineage
from pipeline.ledger.reader import DELETED, MARKED
from pipeline.metadata_store.connection import open_store
from pipeline.operations.rollback import make_rollback
from serving.bundle import check_bundle
from tests.fault_injection import DONE, helper
from tests.pipeline.killed_gc import clean, restore
from tests.pipeline.made_store import MadeStore

ONE, TWO, THREE, FOUR = (2024050001 + 100 * day for day in range(1, 5))


def state(base: Path) -> tuple[list[int], list[int], list[str]]:
    """Versions of models that are there, states of the others, and folders."""
    config = load_config(base / "warmspan.yaml")
    store = open_store(config)
    assert store is not None
    every = read_artifacts(config, store).all
    folders = sorted(path.name for path in (config.artifacts_path / "IncrementalTrainer" / "model").iterdir())
    leftovers = [".removed"] if (config.artifacts_path / ".removed").exists() else []
    return (
        [record.version for record in every if record.live],
        [record.state for record in every if not record.live],
        folders + leftovers,
    )


ENDED = [THREE, FOUR], [DELETED, DELETED], [str(THREE), str(FOUR)]


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_gc_killed_at_any_step_is_ended_by_the_next_and_never_takes_what_is_needed(made: MadeStore) -> None:
    made.chain(4)
    drop_old(made.config.serving_path, 1)
    base, start = made.config.root.parent, made.config.root.parent.with_name("start")
    shutil.copytree(base, start)
    seen = set()
    with helper("tests.pipeline.killed_gc") as child:
        for number in range(1, 1000):
            shutil.rmtree(base)
            shutil.copytree(start, base)
            status = child.call("tests.pipeline.killed_gc:clean", str(base), kill_at=number)
            outcome = state(base)
            config = load_config(base / "warmspan.yaml")
            for version in (THREE, FOUR):
                check_bundle(config.artifacts_path / "IncrementalTrainer" / "model" / str(version) / "Format-Serving")
            assert read_model_lineage(config).champion().version == FOUR
            assert make_rollback(config, bad=FOUR).serves.version == THREE
            if status == DONE:
                break
            assert status == -signal.SIGKILL
            # No artifact without its files is taken for one that is there.
            assert {str(version) for version in outcome[0]} <= set(outcome[2])
            seen |= set(outcome[1])
            clean(str(base))
            assert state(base) == ENDED
    assert state(base) == ENDED
    assert number > 8
    assert MARKED in seen


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_restore_killed_at_any_step_is_ended_by_the_next_and_loses_nothing(made: MadeStore) -> None:
    made.chain(4)
    drop_old(made.config.serving_path, 1)
    base, start = made.config.root.parent, made.config.root.parent.with_name("start")
    before = state(base)
    clean(str(base))
    assert state(base) == ENDED
    shutil.copytree(base, start)
    with helper("tests.pipeline.killed_gc") as child:
        for number in range(1, 1000):
            shutil.rmtree(base)
            shutil.copytree(start, base)
            status = child.call("tests.pipeline.killed_gc:restore", str(base), kill_at=number)
            if status != DONE:
                assert status == -signal.SIGKILL
                restore(str(base))
            assert state(base) == before
            models = made.config.artifacts_path / "IncrementalTrainer" / "model"
            for version in (ONE, TWO, THREE, FOUR):
                check_bundle(models / str(version) / "Format-Serving")
            assert list((base / "run" / "trash").iterdir()) == []
            if status == DONE:
                break
    assert number > 6
