"""A stream that is killed at any write has learned each file once or not at all, and the next goes on from there."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

from components.span_pusher.streamed_versions import streamed_version
from components.span_pusher.version_folder import streamed, versions
from components.span_transform.settings import Settings
from components.span_transform.vocabulary_growth import Vocabularies
from pipeline.config import Config, load_config
from pipeline.stream.folder import DiscardedError, discard, newest
from pipeline.stream.journal import Journal
from pipeline.stream.judge import Window
from pipeline.stream.micro_transform import no_history
from pipeline.stream.state import StreamState, commit
from serving.bundle import check_bundle
from tests.fault_injection import DONE, helper
from tests.pipeline.killed_stream import OOV_ROWS, end_batches, learned, state_of
from tests.pipeline.made_store import MadeStore
from trainer.models.base import TableSizes
from trainer.train_state import ModelState

FILES = "a.csv b.csv"
BASE = 2024050101
LAST = [streamed_version(BASE, 1), streamed_version(BASE, 2)]


def begin(config: Config) -> Path:
    """A stream that has just begun with version `BASE`."""
    nothing = ModelState({"counter": np.zeros(1)}, {}, 0, TableSizes(2, 2, 2), ())
    empty = Vocabularies.load(None, OOV_ROWS)
    history = no_history(Settings(5, OOV_ROWS, 1, 1, 7.0, 5, 0.5))
    journal = Journal("identity", BASE)
    return commit(config, StreamState(journal, nothing, nothing, empty, history, Window.empty()), None)


def assert_consistent(config: Config) -> None:
    """What was learned is what the journal says, and what is served was learned."""
    state = state_of(config)
    assert learned(state) == len(state.journal.entries)
    assert list(state.journal.read()) == FILES.split()[: learned(state)]
    assert versions(config.serving_path) == [BASE]
    for version in streamed(config.serving_path):
        check_bundle(config.serving_path / str(version))
        assert version <= state.journal.version


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_stream_killed_at_any_write_is_gone_on_with_and_nothing_is_lost_or_learned_twice(made: MadeStore) -> None:
    made.chain(1)
    begin(made.config)
    base, start = made.config.root.parent, made.config.root.parent.with_name("start")
    shutil.copytree(base, start)
    seen = set()
    with helper("tests.pipeline.killed_stream") as child:
        for number in range(1, 1000):
            shutil.rmtree(base)
            shutil.copytree(start, base)
            status = child.call("tests.pipeline.killed_stream:end_batches", str(base), "a.csv", kill_at=number)
            config = load_config(base / "warmspan.yaml")
            assert_consistent(config)
            seen.add((learned(state_of(config)), len(streamed(config.serving_path))))
            assert status in (DONE, -signal.SIGKILL)
            end_batches(str(base), FILES)
            assert_consistent(config)
            assert learned(state_of(config)) == 2
            assert streamed(config.serving_path)[-1:] == [state_of(config).journal.version]
            if status == DONE:
                break
    assert streamed(config.serving_path) == LAST
    assert [path.name for path in config.stream_path.glob("state-*")] == ["state-000003"]
    assert number > 30
    # It was killed before and after each of: the state is there, the version is served.
    assert seen == {(0, 0), (1, 0), (1, 1)}


def test_a_stream_whose_state_another_command_has_taken_away_writes_it_no_more(made: MadeStore) -> None:
    made.chain(1)
    first = begin(made.config)
    end_batches(str(made.config.root.parent), "a.csv")
    assert streamed(made.config.serving_path) == [streamed_version(BASE, 1)]
    state, last = state_of(made.config), newest(made.config.stream_path)
    assert first != last
    discard(made.config)
    assert streamed(made.config.serving_path) == []
    assert versions(made.config.serving_path) == [BASE]
    with pytest.raises(DiscardedError):
        commit(made.config, state, last)
    assert newest(made.config.stream_path) is None
