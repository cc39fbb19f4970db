"""A day is streamed from an earlier root, cut off and gone on with; then the night comes, as if nothing had been."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest

from components.span_pusher.version_folder import streamed, versions
from pipeline.config import Config
from pipeline.config.stream import Stream as StreamSettings
from pipeline.ledger.models import read_model_lineage
from pipeline.ledger.serving_state import read_serving_state, serving_state_lines
from pipeline.orchestration.daily_run import run_steps
from pipeline.planning.deliveries import read_deliveries
from pipeline.planning.run_plan import make_plan
from pipeline.spans import Naming
from pipeline.stream import day
from pipeline.stream.folder import discard
from pipeline.stream.learner import within_the_day
from pipeline.stream.loop import Stream
from serving.bundle import check_bundle
from tests.pipeline.recorded_root import NEXT_DAY, VERSIONS, unpack
from trainer.held_out_parts import deals_to_verdict
from trainer.settings import Policy
from trainer.train_state import ModelState

pytestmark = pytest.mark.filterwarnings("default")


def streaming(config: Config) -> Config:
    changed = config.stream.model_copy(update={"settle_seconds": 0.0, "batch_events": 200, "verdict_share": 0.3})
    return config.model_copy(update={"stream": changed})


def contents(root: Path) -> dict[str, str]:
    """Digests of what lies under a root, but for what is the stream's own."""
    own = {"stream", "serving"}
    files = [path for path in sorted(root.rglob("*")) if path.is_file()]
    names = [path.relative_to(root) for path in files]
    return {
        str(name): hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in zip(names, files, strict=True)
        if name.parts[0] not in own
    }


def to_the_end(stream: Stream) -> list[int]:
    """The sizes of the mini-batches."""
    sizes = []
    while entry := stream.step():
        sizes.append(sum(part.end - part.begin for part in entry.parts))
    return sizes


def weights(state: ModelState) -> dict[str, np.ndarray]:
    slots = {f"{path}|{name}": value for path, of in state.slots.items() for name, value in of.items()}
    return {**state.weights, **slots, "iterations": np.array(state.iterations)}


def night(config: Config) -> ModelState:
    from rich.console import Console

    from pipeline.ledger.runs import read_ledger

    run_steps(config, make_plan(read_ledger(config), read_deliveries(config), Naming(dated=True)), Console(quiet=True))
    champion = read_model_lineage(config).champion()
    assert champion is not None
    assert champion.span == Naming(dated=True).parse(NEXT_DAY)
    return ModelState.load(Path(champion.uri) / "state")


class Killed(BaseException):
    pass


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_day_that_was_streamed_and_cut_off_leaves_the_night_as_it_would_have_been(tmp_path, monkeypatch):
    config, other = (streaming(unpack(tmp_path / name)) for name in ("one", "other"))
    before = contents(config.root)

    stream = Stream(config)
    assert stream.step() is not None
    first = streamed(config.serving_path)
    assert len(first) == 1
    check_bundle(config.serving_path / str(first[0]))
    with monkeypatch.context() as patch:

        def killed(*_: object) -> None:
            raise Killed

        patch.setattr(day, "commit", killed)  # learned and exported, and not kept
        with pytest.raises(Killed):
            stream.step()
    stream = Stream(config)
    sizes = to_the_end(stream)
    assert stream.state is not None
    journal = stream.state.journal
    read = [part for entry in journal.entries for part in entry.parts]
    assert [part.begin for part in read] == [0, 200]
    assert read[-1].whole
    assert sum(sizes) + 200 == read[-1].events
    # Whoever judges has learned nothing, and no key's event is in both.
    judging = deals_to_verdict(stream.state.history["key"], 0.3)
    assert sum(entry.judging for entry in journal.entries) == len(stream.state.window)
    assert 0 < judging.sum() < len(judging)
    assert sum(entry.learned + entry.judging + entry.known for entry in journal.entries) >= read[-1].events

    # As if it had not been cut off.
    cut_off = weights(stream.state.copy)
    discard(config)
    whole = Stream(config)
    to_the_end(whole)
    assert whole.state is not None
    for name, value in weights(whole.state.copy).items():
        np.testing.assert_array_equal(value, cut_off[name], name)

    # What is served is said to be streamed, and is not the champion.
    assert whole.state.journal.version == streamed(config.serving_path)[-1]
    said = "\n".join(serving_state_lines(read_serving_state(config), config))
    assert f"streamed  {whole.state.journal.version}, from {VERSIONS[-1]}" in said
    assert f"champion  {VERSIONS[-1]}" in said
    assert contents(config.root) == before

    # The night takes its place, and has learned what it would have learned.
    streamed_night, plain_night = night(config), night(other)
    for name, value in weights(plain_night).items():
        np.testing.assert_array_equal(value, weights(streamed_night)[name], name)
    assert streamed(config.serving_path) == []
    assert versions(config.serving_path) == versions(other.serving_path)
    assert whole.step() is whole.step() is None  # the ledger is read once it is quiet
    assert whole.state.journal.base == versions(config.serving_path)[-1]
    assert whole.state.journal.entries == ()

    # The next day's file is learned on top of the new champion.
    folder = config.data.path / "2024-05-05"
    shutil.copytree(config.data.path / NEXT_DAY, folder)
    for path in folder.iterdir():
        head, *rows = [line.split(",") for line in path.read_text().splitlines()]
        later = [[user, item, str(int(time) + 86_400), quantity] for user, item, time, quantity in rows]
        path.write_text("\n".join(map(",".join, [head, *later])) + "\n")
    entry = whole.step()
    assert entry is not None
    assert entry.parts[0].refused == ""
    assert entry.learned


def test_a_mini_batch_is_learned_in_the_same_precision_and_never_compiled():
    nightly = Policy(precision="mixed_bfloat16", jit_compile=True)
    policy = within_the_day(nightly, StreamSettings())
    assert (policy.precision, policy.jit_compile) == ("mixed_bfloat16", False)
