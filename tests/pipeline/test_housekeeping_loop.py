"""A real recommender after a gc, and after somebody was forgotten: what is served, and what the next day does.

All tests share three real days and look at copies of them, each in the same place: artifacts know their folders.
"""

from __future__ import annotations

import dataclasses
import gzip
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from components.span_pusher.version_folder import push, versions
from components.suppression_list import SuppressionList
from pipeline.config import Config, with_settings
from pipeline.demo.simulator import simulate
from pipeline.erasure import journal
from pipeline.erasure import users as forget
from pipeline.erasure.formats.tables import History
from pipeline.erasure.id_matcher import IdMatcher
from pipeline.erasure.pending import read_pending, revoke_older
from pipeline.ledger.artifacts import MODEL, STATES, read_artifacts
from pipeline.ledger.runs import Run, read_ledger
from pipeline.ledger.serving_state import read_serving_state
from pipeline.metadata_store.connection import open_store
from pipeline.operations import garbage_collection as housekeeping
from pipeline.operations.disk_usage import disk_use
from pipeline.operations.rollback import carry_out as roll_back
from pipeline.operations.rollback import make_rollback
from pipeline.orchestration.daily_run import run_steps
from pipeline.orchestration.span_run import SpanRun
from pipeline.planning.deliveries import read_deliveries
from pipeline.planning.run_plan import Step, make_plan
from serving.bundle import check_bundle
from serving.bundle.saved_model import SavedModel
from tests.pipeline.conftest import FIRST_DAY, settings
from tests.pipeline.hand_made_ledger import DAYS
from trainer.train_state import ModelState
from trainer.vocabulary import Vocabulary

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800), pytest.mark.filterwarnings("default")]

LAST = "2024-05-04"
# The simulator's user with most events: in every state, and in statistics' most frequent values.
USER = "u00057"


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Config:
    base = tmp_path_factory.mktemp("housekeeping") / "one"
    simulate(
        base / "shop", FIRST_DAY, 4, seed=3, events_per_day=200, users=60, items=50, new_users_per_day=3,
        new_items_per_day=2,
    )  # fmt: skip
    replay = {"update": {"stability": {"replay": {"budget": 60}}}}
    changes = {"push": {"keep_versions": 1}, "gate": {"budget": None}, **replay}
    config = with_settings(settings(base), changes, "the test")
    run(config, "2024-05-03")
    shutil.copytree(config.root, config.root.with_name("before"))
    return config


@pytest.fixture
def start(ran: Config) -> Callable[[], Config]:
    """Puts the three days back."""

    def back() -> Config:
        shutil.rmtree(ran.root, ignore_errors=True)
        shutil.copytree(ran.root.with_name("before"), ran.root)
        return ran

    return back


def run(config: Config, last: str) -> list[Run]:
    steps = make_plan(read_ledger(config), read_deliveries(config), DAYS, last=DAYS.parse(last))
    run_steps(config, steps, Console(quiet=True))
    return read_ledger(config)


def hits(root: Path, needle: bytes) -> dict[str, int]:
    """An independent search: the bytes of every file, and of what is compressed in it."""
    counts = {}
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        data = path.read_bytes()
        parts = [data]
        if path.suffix == ".gz":
            parts.append(gzip.decompress(data))
        if path.suffix == ".parquet":
            parts.append(repr(pq.read_table(path).to_pydict()).encode())
        if path.suffix == ".npz":
            with zipfile.ZipFile(path) as file:
                parts += [file.read(name) for name in file.namelist()]
        if count := sum(part.count(needle) for part in parts):
            counts[str(path.relative_to(root))] = count
    return counts


def timeless(runs: list[Run]) -> list[Run]:
    return [dataclasses.replace(run, seconds={}) for run in runs]


def test_after_a_gc_the_next_day_is_that_of_a_run_without_one_and_a_rollback_works(start) -> None:
    without = timeless(run(start(), LAST))
    config = start()
    before = disk_use(config).total
    planned = housekeeping.make_cleanup(config)
    with_anchor = housekeeping.make_cleanup(with_settings(config, {"gate": {"budget": 2.0}}, "the test"))
    assert with_anchor.size < planned.size, "the first model is the anchor"
    housekeeping.carry_out(config, planned)
    after = disk_use(config)
    assert after.total - after.trash == before - planned.size
    assert after.trash > 0
    assert planned.size > 0.1 * before
    assert timeless(run(config, LAST)) == without
    assert housekeeping.make_cleanup(config).going, "what the last day replaced"
    housekeeping.carry_out(config, housekeeping.make_cleanup(config))

    # The version in the folder is bad: the one before it is restored from its artifact, and learns the day again.
    (served,) = versions(config.serving_path)
    roll_back(config, make_rollback(config, bad=served), "bots")
    assert versions(config.serving_path) == [2024050301]
    check_bundle(config.serving_path / "2024050301")
    assert read_serving_state(config).owed == (DAYS.parse(LAST),)


def test_somebody_who_was_forgotten_is_nowhere_and_does_not_come_back(start) -> None:
    config = start()
    store = open_store(config)
    noted = store.get_artifacts_by_type("WarmspanDecision")[0]
    noted.custom_properties["note"].string_value = f"asked about by {USER}"
    store.put_artifacts([noted])
    (config.logs_path / "runs" / "a.log").write_text(f"read '{USER}', then u000571\n")
    (config.root / "report.html").write_text(f"<td>{USER}</td>")
    before = hits(config.root, USER.encode())
    for part in ("examples", "sequences", "held_out", "history", "vocabulary", "statistics", "reference", "variables"):
        assert any(part in name for name in before), part
    assert {"metadata.sqlite", "report.html"} <= set(before)
    key_rows = rows_of_user(config)
    assert all(np.any(row) for row in own_rows(config, key_rows).values())

    planned = forget.make_erasure(config, [USER])
    assert hits(config.root, USER.encode()) == before, "a plan changes nothing"
    kinds = {sighting.kind for sighting in planned.seen}
    assert {"SpanTransform/history", "IncrementalTrainer/memory", "StatisticsGen/statistics", MODEL} <= kinds
    assert planned.learned == (2024050101, 2024050201, 2024050301)
    assert len(planned.own) == 4
    assert forget.carry_out(config, planned) == []

    left = hits(config.root, USER.encode())
    assert list(left) == ["logs/runs/a.log"], "another's id that begins with his"
    assert (config.logs_path / "runs" / "a.log").read_text() == "read '[forgotten]', then u000571\n"
    (config.logs_path / "runs" / "a.log").unlink()
    assert not journal.journal_path(config).exists()
    assert SuppressionList.load(config.suppression_list_path).holds(USER.encode())
    assert rows_of_user(config) == {}
    assert not any(np.any(row) for row in own_rows(config, key_rows).values())
    for (version, row), size in sizes(config).items():
        assert size == sizes(config, config.root.with_name("before"))[version, row], "no row of anybody moves"
    # The pushed version is the artifact's, and is served.
    (version,) = versions(config.serving_path)
    bundle = next(record.folder for record in records(config, MODEL) if record.version == version) / "Format-Serving"
    assert check_bundle(bundle).files == check_bundle(config.serving_path / str(version)).files
    push(bundle, config.serving_path, version, {})
    answer = SavedModel("shop", version, config.serving_path / str(version))
    assert answer.warm_up() == 5
    users = np.array([USER.encode(), b"none of the ids"], object)
    outputs = answer.run("serving_default", {"user_id": users, "history": np.array([[b""], [b""]], object)})
    assert np.array_equal(outputs["scores"][0], outputs["scores"][1]), "a stranger"
    answer.retire(lambda: None)
    # Once more changes nothing.
    assert forget.make_erasure(config, [USER]).empty

    # The next day's files hold him, and a new delivery of the last day does.
    assert read_pending(config).champion.version == version
    events = config.data.path / LAST / "events.csv"
    assert USER in events.read_text()
    day = run(config, LAST)[-1]
    assert hits(config.root, USER.encode()) == {}
    assert day.pushed
    assert day.rejects > 0
    rejects = (records(config, "SpanExampleGen/examples")[-1].folder / "rejects.csv").read_text().splitlines()[1:]
    assert {line.split(",", 2)[2] for line in rejects} == {"forgotten,"}

    # That one descends from a model that learned from him. One from fresh weights does not, and ends it.
    assert read_pending(config).champion.version == day.pushed
    run_steps(config, [Step(day.span, 2)], Console(quiet=True), "retrain")
    pending = read_pending(config)
    assert pending.champion is None
    assert [model.version for model in pending.older] == [2024050101, 2024050201, 2024050301, 2024050401]
    assert revoke_older(config) == (2024050101, 2024050201, 2024050301, 2024050401)
    assert versions(config.serving_path) == [2024050402]
    assert [record.version for record in records(config, MODEL)] == [2024050402]
    assert read_pending(config).empty


def test_an_erasure_that_was_cut_off_is_ended_before_the_next_run(start) -> None:
    config = start()
    planned = forget.make_erasure(config, [USER])
    planned.journal.save(config)
    # Some of it was done.
    done = next(sighting for sighting in planned.seen if sighting.kind == STATES[1])
    for record in records(config, STATES[1])[: done.count - 1]:
        for path in record.folder.glob("*.parquet"):
            History().redact(path, IdMatcher.of([USER.encode()]))
    (version,) = versions(config.serving_path)
    served = config.serving_path / str(version)
    served.rename(config.serving_path / f".{version}.exchanged")  # between the two renames of an exchange
    SpanRun(config, DAYS.parse(LAST), 1).run_node("SpanExampleGen")
    assert hits(config.root, USER.encode()) == {}
    assert versions(config.serving_path) == [version]
    check_bundle(served)


def records(config: Config, kind: str) -> list:
    return read_artifacts(config, open_store(config)).of(kind)


def rows_of_user(config: Config) -> dict[int, int]:
    """Span to the row of the user."""
    rows = {}
    for record in records(config, STATES[0]):
        vocabulary = Vocabulary.load(record.folder, "keys")
        (row,) = vocabulary.lookup([USER])
        if row >= vocabulary.first_row:
            rows[record.span] = int(row)
    return rows


def own_rows(config: Config, rows: dict[int, int]) -> dict[int, np.ndarray]:
    """Version to the user's vector and its slot."""
    vectors = {}
    for record in records(config, MODEL):
        state = ModelState.load(record.folder / "state")
        path = "key_embedding/embeddings"
        arrays = [state.weights[path], *state.slots[path].values()]
        vectors[record.version] = np.concatenate([array[rows[record.span]] for array in arrays])
    return vectors


def sizes(config: Config, root: Path | None = None) -> dict[tuple[int, str], int]:
    vocabulary_sizes = {}
    for record in records(config, STATES[0]):
        folder = record.folder if root is None else root / record.folder.relative_to(config.root)
        vocabulary_sizes[record.span, "keys"] = Vocabulary.load(folder, "keys").size
    return vocabulary_sizes
