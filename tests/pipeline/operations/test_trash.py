"""What gc removes can be put back for some days, and is gone for good after them or for somebody who is forgotten."""

from __future__ import annotations

import errno
import os
from collections import Counter

import pytest

from components.span_pusher.version_folder import drop_old
from pipeline.config import Config, with_settings
from pipeline.ledger.models import read_model_lineage
from pipeline.ledger.reader import DELETED, LIVE
from pipeline.ledger.runs import read_runs
from pipeline.operations.garbage_collection import carry_out, make_cleanup, restore
from pipeline.operations.rollback import make_rollback
from pipeline.operations.trash import empty_trash, expired, read_trash
from tests.pipeline.made_store import MadeStore
from tests.pipeline.operations.test_adoption import tree


@pytest.fixture
def cleaned(made: MadeStore) -> tuple[MadeStore, dict[str, str]]:
    """Four days of which a gc has removed two models, and what the root was before it."""
    made.chain(4)
    drop_old(made.config.serving_path, 1)
    made.config.logs_path.joinpath("runs").mkdir(parents=True)
    made.config.logs_path.joinpath("runs", "shop.2024-04-01.r01.log").write_text("long ago")
    before = tree(made.config.root)
    carry_out(made.config, make_cleanup(made.config))
    return made, before


def files_of(config: Config) -> dict[str, str]:
    """What lies under the root, apart from what every command writes anew."""
    own = ("metadata.sqlite", "run.lock", "root.json")
    return {name: content for name, content in tree(config.root).items() if not name.startswith(own)}


def states(made: MadeStore) -> Counter[int]:
    return Counter(artifact.state for artifact in made.store.get_artifacts())


def test_what_was_removed_is_put_back_as_it_was(cleaned):
    made, before = cleaned
    assert states(made)[DELETED] > 0
    assert len(read_trash(made.config)) == 1
    (trash,) = restore(made.config)
    assert trash.artifacts
    assert files_of(made.config) == {name: text for name, text in before.items() if name in files_of(made.config)}
    assert set(before) - set(tree(made.config.root)) == set()
    assert states(made) == {LIVE: sum(states(made).values())}
    assert read_trash(made.config) == []
    # It can be gone back to again.
    assert make_rollback(made.config, to=read_model_lineage(made.config).models[0].version)
    assert restore(made.config) == []


def test_two_that_followed_each_other_are_both_put_back(cleaned):
    made, _ = cleaned
    made.day("2024-05-05", 2024050401)
    drop_old(made.config.serving_path, 1)
    carry_out(made.config, make_cleanup(made.config))
    assert len(read_trash(made.config)) == 2
    restore(made.config)
    assert states(made)[DELETED] == 0
    assert [run.pushed for run in read_runs(made.config)] == [2024050001 + 100 * day for day in range(1, 6)]


def test_after_its_days_it_is_gone_for_good(cleaned):
    made, _ = cleaned
    assert expired(made.config) == []
    at_once = with_settings(made.config, {"gc": {"trash_days": 0}}, "the test")
    planned = make_cleanup(at_once)
    assert [trash.folder for trash, _ in planned.trash] == [trash.folder for trash in read_trash(made.config)]
    assert planned.size > 0
    carry_out(at_once, planned)
    assert read_trash(made.config) == []
    assert make_cleanup(at_once).empty


def test_without_days_nothing_lies_in_the_trash(made):
    made.chain(4)
    drop_old(made.config.serving_path, 1)
    at_once = with_settings(made.config, {"gc": {"trash_days": 0}}, "the test")
    carry_out(at_once, make_cleanup(at_once))
    assert read_trash(made.config) == []
    assert states(made)[DELETED] > 0


def test_between_two_disks_it_is_copied_whole(made, monkeypatch):
    made.chain(4)
    drop_old(made.config.serving_path, 1)
    before = files_of(made.config)
    rename = os.rename

    def across(source: os.PathLike[str], target: os.PathLike[str]) -> None:
        if ("trash" in str(source)) != ("trash" in str(target)):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        rename(source, target)

    monkeypatch.setattr(os, "rename", across)
    carry_out(made.config, make_cleanup(made.config))
    assert not any(name.endswith(".partial") for name in files_of(made.config))
    restore(made.config)
    assert files_of(made.config) == before


def test_the_trash_can_be_emptied(cleaned):
    made, _ = cleaned
    empty_trash(made.config)
    assert read_trash(made.config) == []
    assert not list((made.config.root / "trash").iterdir())
