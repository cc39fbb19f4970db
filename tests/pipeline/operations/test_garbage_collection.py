"""What may go is what nothing needs: every version that can be gone back to keeps all that this takes."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from components.resolvers import PreviousState, StateRemovedError
from components.span_pusher.version_folder import drop_old, versions
from pipeline.config import Config, with_settings
from pipeline.explain.trained_model import newest_folder
from pipeline.ledger.artifacts import MODEL, read_artifacts
from pipeline.ledger.models import read_model_lineage
from pipeline.ledger.reader import DELETED, MARKED
from pipeline.ledger.runs import read_ledger, read_runs
from pipeline.ledger.serving_state import read_serving_state
from pipeline.metadata_store.exclusive import LockedError, exclusive
from pipeline.operations.garbage_collection import GcError, carry_out, describe, make_cleanup
from pipeline.operations.release import release
from pipeline.operations.retention_policy import newest
from pipeline.operations.rollback import RollbackError, make_rollback
from pipeline.operations.rollback import carry_out as roll_back
from tests.pipeline.made_store import DAYS, MadeStore

ONE, TWO, THREE, FOUR, FIVE = (2024050001 + 100 * day for day in range(1, 6))


def clean(config: Config) -> list[int]:
    """Versions of the models that a gc removes."""
    planned = make_cleanup(config)
    going = [record.version for record in planned.going if record.kind == MODEL]
    carry_out(config, planned)
    return going


def states(made: MadeStore) -> Counter[int]:
    return Counter(artifact.state for artifact in made.store.get_artifacts())


def test_models_stay_that_are_served_or_take_their_place_after_a_rollback(made: MadeStore) -> None:
    made.chain(5)
    drop_old(made.config.serving_path, 2)
    before = read_runs(made.config)
    assert clean(made.config) == [ONE, TWO]
    gone = [made.model(version) for version in (ONE, TWO)]
    assert {artifact.state for artifact in gone} == {DELETED}
    folders = made.config.artifacts_path / "IncrementalTrainer" / "model"
    assert sorted(path.name for path in folders.iterdir()) == [str(version) for version in (THREE, FOUR, FIVE)]
    assert read_runs(made.config) == before, "the ledger is whole"
    assert make_cleanup(made.config).empty

    # The oldest in the folder turns out to be bad: the one before it is still there.
    roll_back(made.config, make_rollback(made.config, bad=FOUR), "bots")
    assert versions(made.config.serving_path) == [THREE]
    assert read_serving_state(made.config).champion.version == THREE
    with pytest.raises(RollbackError, match=r"`--to` must be a version whose files are there\. Received: 2024050101"):
        make_rollback(made.config, to=ONE)


def test_the_last_teacher_before_what_can_be_gone_back_to_stays(made: MadeStore) -> None:
    made.chain(6)
    folders = {day: made.teacher(f"2024-05-{day:02d}", refreshed=day in (1, 2)) for day in range(1, 7)}
    drop_old(made.config.serving_path, 2)
    clean(made.config)
    there = [day for day, folder in folders.items() if folder.exists()]
    assert there == [2, 4, 5, 6]  # 5 and 6 are served, 4 what would be after a rollback; on 2 their teacher learned


def test_what_was_tuned_with_a_model_that_stays_stays(made: MadeStore) -> None:
    made.chain(6)
    folders = {day: made.tuned(f"2024-05-{day:02d}") for day in range(1, 7)}
    drop_old(made.config.serving_path, 2)
    clean(made.config)
    assert [day for day, folder in folders.items() if folder.exists()] == [4, 5, 6]


def test_a_labelled_version_stays_however_old(made: MadeStore) -> None:
    from components.span_pusher.version_labels import write_labels

    made.chain(5)
    write_labels(made.config.models_config_path, "shop", made.config.serving_path, {"stable": TWO})
    drop_old(made.config.serving_path, 1, [TWO])
    assert clean(made.config) == [THREE]
    assert read_model_lineage(made.config).champion().version == FIVE


def test_refused_candidates_and_revoked_models_go(made: MadeStore) -> None:
    made.chain(3)
    made.day("2024-05-04", THREE, blessed=False)
    roll_back(made.config, make_rollback(made.config, bad=THREE), "bots")
    assert clean(made.config) == [THREE, FOUR]
    assert read_model_lineage(made.config).champion().version == TWO


def test_a_refused_model_stays_that_hides_an_older_one_of_its_day(made: MadeStore) -> None:
    made.chain(3)
    again = made.day("2024-05-03", TWO, revision=2, blessed=False)
    champion = read_model_lineage(made.config).champion()
    assert champion.version == TWO, "the day was run again and refused"
    assert clean(made.config) == []
    assert made.model(again).state not in (MARKED, DELETED)
    assert read_model_lineage(made.config).champion() == champion


def test_nothing_goes_of_a_run_that_is_not_done(made: MadeStore) -> None:
    made.chain(3)
    drop_old(made.config.serving_path, 1)
    cut_off = made.day("2024-05-04", THREE, blessed=None)
    assert clean(made.config) == [ONE]
    assert made.model(cut_off).state not in (MARKED, DELETED)


@pytest.mark.parametrize("released", [False, True])
def test_what_is_held_stays_however_old_until_it_was_run(made: MadeStore, released: bool) -> None:
    config = with_settings(made.config, {"gc": {"keep_spans": 1}, "guard": {"spans": 3, "at_least": 3}}, "few")
    made.held("2024-05-01")
    versions_after = [made.day("2024-05-02")]
    versions_after += [made.day(f"2024-05-{day:02d}", versions_after[-1]) for day in range(3, 31)]
    drop_old(config.serving_path, 1)
    if released:
        release(config, "2024-05-01", "Easter")
    planned = make_cleanup(config)
    assert not planned.empty
    assert not [record for record in planned.going if record.span == DAYS.parse("2024-05-01")]
    carry_out(config, planned)
    for kind in ("SpanExampleGen/examples", "SpanGuard/profile"):
        assert [path.name for path in (config.artifacts_path / kind).iterdir()] == [str(DAYS.parse("2024-05-01"))]
    assert read_ledger(config)[0].state == "held"


def test_what_was_cut_off_is_ended_by_the_next(made: MadeStore) -> None:
    made.chain(4)
    drop_old(made.config.serving_path, 1)
    planned = make_cleanup(made.config)
    artifacts = made.store.get_artifacts_by_id([record.id for record in planned.going])
    for artifact in artifacts:
        artifact.state = MARKED
    made.store.put_artifacts(artifacts)
    away = made.config.artifacts_path / ".removed"
    away.mkdir()
    planned.going[0].folder.rename(away / "half")
    assert states(made)[MARKED] == len(planned.going)
    assert clean(made.config) == [ONE, TWO]
    assert states(made)[MARKED] == 0
    assert not away.exists()


def test_leftovers_of_killed_runs_go_and_other_files_stay(made: MadeStore) -> None:
    made.chain(2)
    artifacts, root = made.config.artifacts_path, made.config.root
    killed = made.unfinished("SpanTransform")
    for name in (f"SpanTransform/history/{killed}", "Evaluator/.system/executor_execution/78"):
        (artifacts / name).mkdir(parents=True)
        (artifacts / name / "part").write_text("x")
    (root / ".tensorboard-abc").mkdir()
    (made.config.serving_path / ".2024050301.partial").mkdir()
    (artifacts / "SpanExampleGen" / "refused").mkdir(parents=True)
    (artifacts / "SpanExampleGen" / "refused" / "2024-05-02.csv").write_text("a person may look at this")
    clean(made.config)
    assert not (artifacts / "SpanTransform" / "history" / str(killed)).exists()
    assert not list((artifacts / "Evaluator" / ".system").rglob("part"))
    assert not (root / ".tensorboard-abc").exists()
    assert not (made.config.serving_path / ".2024050301.partial").exists()
    assert (artifacts / "SpanExampleGen" / "refused" / "2024-05-02.csv").exists()


def test_logs_of_the_last_spans_stay(made: MadeStore) -> None:
    made.chain(4)
    config = with_settings(made.config, {"gc": {"keep_spans": 2}}, "the test")
    for day in range(1, 5):
        for path in (f"runs/shop.2024-05-0{day}.r01.log", f"training/events.out.tfevents.1.vm.2024050{day}01"):
            (config.logs_path / path).parent.mkdir(parents=True, exist_ok=True)
            (config.logs_path / path).write_text("said")
    (config.logs_path / "runs" / "another.2024-05-01.r01.log").write_text("not ours")
    carry_out(config, make_cleanup(config))
    left = sorted(path.name for path in config.logs_path.rglob("*") if path.is_file())
    assert left == [
        "another.2024-05-01.r01.log",
        "events.out.tfevents.1.vm.2024050301",
        "events.out.tfevents.1.vm.2024050401",
        "shop.2024-05-03.r01.log",
        "shop.2024-05-04.r01.log",
    ]


def test_beside_a_run_and_after_a_change_nothing_is_removed(made: MadeStore) -> None:
    made.chain(4)
    drop_old(made.config.serving_path, 1)
    planned = make_cleanup(made.config)
    with exclusive(made.config), pytest.raises(LockedError, match="held by another process"):
        carry_out(made.config, planned)
    made.day("2024-05-05", FOUR)
    drop_old(made.config.serving_path, 1)
    with pytest.raises(GcError, match="has changed since this was planned"):
        carry_out(made.config, planned)
    assert states(made)[DELETED] == 0


def test_the_table_says_why_each_stays(made: MadeStore) -> None:
    made.chain(4)
    drop_old(made.config.serving_path, 2)
    rows = [row for row in describe(make_cleanup(made.config), made.config) if row[0] == MODEL]
    assert [(spans, count, why) for _, spans, count, _, why in rows] == [
        ("2024-05-01", "1", "removed"),
        ("2024-05-02", "1", "served after `rollback --bad 2024050301`"),
        ("2024-05-03", "1", "in the served folder"),
        ("2024-05-04", "1", "served"),
    ]
    assert all(re.fullmatch(r"[\d.]+ (bytes|kB)", size) for _, _, _, size, _ in rows)


def test_a_root_without_a_run_has_nothing_to_remove(made: MadeStore) -> None:
    (made.config.root / "metadata.sqlite").unlink()
    assert make_cleanup(made.config).empty


def test_a_span_does_not_begin_from_nothing_where_the_state_before_it_was_removed(made: MadeStore) -> None:
    made._make_one("SpanTransform", [made._pipeline], [], "WarmspanKeyHistory", {"span": 7}, "history")
    (history,) = made.store.get_artifacts_by_type("WarmspanKeyHistory")
    assert PreviousState(8).resolve_artifacts(made.store, {"history": []}) == {"history": []}
    assert PreviousState(8, "shop").resolve_artifacts(made.store, {"history": []}) == {"history": []}
    history.state = DELETED
    made.store.put_artifacts([history])
    with pytest.raises(StateRemovedError, match=r"the state of 7 was removed\. By `warmspan gc`"):
        PreviousState(8, "shop").resolve_artifacts(made.store, {"history": []})
    assert PreviousState(7, "shop").resolve_artifacts(made.store, {"history": []}) == {"history": []}
    history.custom_properties["forgotten"].int_value = 1
    made.store.put_artifacts([history])
    assert PreviousState(8, "shop").resolve_artifacts(made.store, {"history": []}) == {"history": []}


def test_what_was_removed_is_not_the_newest(made: MadeStore) -> None:
    for span in (7, 8):
        made._make_one("SpanTransform", [made._pipeline], [], "WarmspanKeyHistory", {"span": span}, "history")
    earlier, later = sorted(made.store.get_artifacts_by_type("WarmspanKeyHistory"), key=lambda artifact: artifact.id)
    assert newest_folder(made.config, "WarmspanKeyHistory") == Path(later.uri)
    later.state = DELETED
    made.store.put_artifacts([later])
    assert newest_folder(made.config, "WarmspanKeyHistory") == Path(earlier.uri)


def test_of_a_span_the_newest_counts(made: MadeStore) -> None:
    made.chain(1)
    made.day("2024-05-01", revision=2)
    records = read_artifacts(made.config, made.store)
    assert [record.version for record in newest(records.of(MODEL))] == [ONE + 1]
