"""A streamed version stands above the night that it comes from, as long as that is the newest."""

from __future__ import annotations

import pytest

from components.span_pusher.streamed_versions import streamed_version
from components.span_pusher.version_folder import push, streamed, versions
from pipeline.config import Config
from pipeline.ledger.serving_state import read_serving_state, serving_state_lines
from pipeline.operations.retention_policy import needed_models
from pipeline.operations.rollback import carry_out, make_rollback
from pipeline.stream.folder import discard
from pipeline.stream.served import bundle_folder, next_version, serve
from tests.components.folder_changes import make_bundle
from tests.pipeline.made_store import MadeStore

ONE, TWO, THREE = (2024050001 + 100 * day for day in range(1, 4))


def bundle(config: Config, version: int) -> int:
    make_bundle(bundle_folder(config, version), f"streamed {version}")
    return version


@pytest.fixture
def config(made: MadeStore) -> Config:
    """Two nights, and two mini-batches since."""
    made.chain(2)
    last = 0
    for _ in range(2):
        last = bundle(made.config, next_version(made.config, TWO, last))
        assert serve(made.config, TWO, last)
    return made.config


def test_each_is_counted_on_and_the_last_two_are_kept(config):
    assert streamed(config.serving_path) == [streamed_version(TWO, 1), streamed_version(TWO, 2)]
    third = bundle(config, next_version(config, TWO, streamed_version(TWO, 2)))
    assert serve(config, TWO, third)
    assert serve(config, TWO, third)  # again, as after a kill
    assert streamed(config.serving_path) == [streamed_version(TWO, 2), third]
    assert [path.name for path in bundle_folder(config, third).parent.iterdir()] == [str(third)]
    # A count that was in the folder is not used again for another model, whatever the stream remembers.
    assert next_version(config, TWO, 0) == streamed_version(TWO, 4)


def test_back_to_the_champion_takes_them_out(config):
    assert serve(config, TWO, 0)
    assert streamed(config.serving_path) == []
    assert versions(config.serving_path) == [ONE, TWO]


def test_nothing_is_pushed_once_another_night_is_the_newest(config, tmp_path):
    push(make_bundle(tmp_path / "night", "three"), config.serving_path, THREE, {})
    late = bundle(config, next_version(config, TWO, streamed_version(TWO, 2)))
    assert not serve(config, TWO, late)
    assert late not in streamed(config.serving_path)


def test_a_rollback_takes_out_what_was_streamed_whatever_it_came_from(config):
    carry_out(config, make_rollback(config, bad=TWO), "bots")
    assert streamed(config.serving_path) == []
    assert versions(config.serving_path) == [ONE]
    assert not serve(config, TWO, streamed_version(TWO, 2))


def test_the_ledger_and_what_is_needed_know_the_nights_alone(config):
    from pipeline.ledger.models import read_model_lineage

    state = read_serving_state(config)
    assert (state.served, state.champion.version, state.streamed) == (TWO, TWO, streamed_version(TWO, 2))
    assert "streamed  5202405020100002, from 2024050201: the highest version" in "\n".join(
        serving_state_lines(state, config)
    )
    needed = needed_models(config, read_model_lineage(config))
    discard(config)
    assert needed_models(config, read_model_lineage(config)) == needed
    assert read_serving_state(config).streamed is None
