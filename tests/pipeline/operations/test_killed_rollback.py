"""A rollback that is killed anywhere can be repeated, ends the same, and never leaves a revoked model served unsaid."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.span_pusher.version_folder import versions
from components.span_pusher.version_labels import read_labels, write_labels
from pipeline.config import Config, load_config
from pipeline.ledger.models import read_model_lineage
from pipeline.ledger.serving_state import read_serving_state
from serving.bundle import check_bundle
from tests.fault_injection import DONE, Helper, helper, why_no_strace
from tests.pipeline.killed_rollback import BAD, roll_back
from tests.pipeline.made_store import MadeStore

CALL = "tests.pipeline.killed_rollback:roll_back"
ONE, GOOD, LAST = 2024050101, 2024050201, 2024050501


@pytest.fixture(scope="module")
def child() -> Iterator[Helper]:
    with helper(
        "tests.pipeline.killed_rollback",
        "google.protobuf.text_format",
        "tensorflow_serving.config.model_server_config_pb2",
    ) as process:
        yield process


@pytest.fixture
def start(made: MadeStore) -> Config:
    """Five days; the one to go back to has left the folder, and both labels are on versions that will be revoked."""
    made.chain(5)
    shutil.rmtree(made.config.serving_path / str(GOOD))
    write_labels(made.config.models_config_path, "shop", made.config.serving_path, {"stable": BAD, "canary": LAST})
    base = made.config.root.parent
    shutil.copytree(base, base.with_name("start"))
    return made.config


def begin(config: Config) -> str:
    base = config.root.parent
    shutil.rmtree(base)
    shutil.copytree(base.with_name("start"), base)
    return str(base)


def outcome(base: str) -> tuple[set[int], list[int], dict[str, int]]:
    config = load_config(Path(base) / "warmspan.yaml")
    labels = read_labels(config.models_config_path, "shop")
    return set(read_model_lineage(config).revoked_versions), versions(config.serving_path), labels


ENDED = {BAD, BAD + 100, LAST}, [ONE, GOOD], {"stable": GOOD, "canary": GOOD}


def assert_said(base: str) -> None:
    """All or nothing is revoked; the old or the good version is served; a revoked one is not served unsaid."""
    config = load_config(Path(base) / "warmspan.yaml")
    revoked, present, labels = outcome(base)
    assert revoked in (set(), ENDED[0])
    for version in present:
        check_bundle(config.serving_path / str(version))
    assert present[-1] in (LAST, GOOD)
    assert set(labels.values()) <= set(present), "a label must never name a version that is not there"
    serving_state = read_serving_state(config)
    assert serving_state.left == tuple(version for version in present if version in revoked)
    if not revoked:
        assert present[-1] == LAST
        assert {ONE, BAD, BAD + 100, LAST} <= set(present)


def test_a_rollback_killed_at_any_step_of_the_folder_is_ended_by_a_repeat(child: Helper, start: Config) -> None:
    unsaid = set()
    for number in range(1, 1000):
        base = begin(start)
        status = child.call(CALL, base, kill_at=number)
        assert_said(base)
        if status == DONE:
            break
        assert status == -signal.SIGKILL
        unsaid.add(bool(read_serving_state(start).left))
        roll_back(base)
        assert outcome(base) == ENDED
    assert outcome(base) == ENDED
    assert number > 25
    assert unsaid == {False, True}


@pytest.mark.slow
@pytest.mark.skipif(bool(why_no_strace()), reason=why_no_strace() or "strace is there")
def test_a_rollback_killed_at_any_system_call_that_writes_is_ended_by_a_repeat(child: Helper, start: Config) -> None:
    status, calls = child.traced(CALL, begin(start))
    assert status == DONE
    # A file that was only opened is looked at by the kill at its first write.
    del calls["openat"]
    assert {"write", "fdatasync", "rename", "fsync", "unlinkat"} <= set(calls), "SQLite's and the folder's"
    for call, count in calls.items():
        for number in range(1, count + 1):
            base = begin(start)
            status, _ = child.traced(CALL, base, inject=f"{call}:signal=SIGKILL:when={number}")
            assert status == -signal.SIGKILL, (call, number)
            assert_said(base)
            roll_back(base)
            assert outcome(base) == ENDED
