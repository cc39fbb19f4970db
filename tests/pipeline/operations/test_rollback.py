"""A bad model and its descendants are taken back: out of service, and out of what later models may start from."""

from __future__ import annotations

import dataclasses
import datetime
import fcntl
import shutil

import pytest
from tfx.types import standard_artifacts

from components.incremental_trainer.artifact_files import SERVING_FOLDER
from components.resolvers import Champion, RevokedError, refuse_revoked
from components.span_pusher import component
from components.span_pusher.verdict import Verdict
from components.span_pusher.version_folder import push, versions
from components.span_pusher.version_labels import read_labels, write_labels
from pipeline.config import Config
from pipeline.ledger import models as lineage
from pipeline.ledger.models import model_lineage_in
from pipeline.ledger.runs import read_ledger, read_run
from pipeline.ledger.serving_state import read_serving_state, serving_state_lines
from pipeline.metadata_store.exclusive import LockedError
from pipeline.operations import rollback
from pipeline.operations.rollback import BUNDLE_FOLDER, RollbackError, carry_out, describe, finish, make_rollback
from pipeline.planning.differences import Delivery
from pipeline.planning.run_plan import Step, make_plan
from serving.bundle import check_bundle
from serving.bundle.validation import Validation
from tests.pipeline.made_store import DAYS, MadeStore


def roll_back(config: Config, reason: str = "bots", **asked: int) -> None:
    carry_out(config, make_rollback(config, **asked), reason)


def resolved(made: MadeStore, day: str) -> list[int]:
    """Versions that the pipeline's own resolver finds to start `day` from."""
    kinds = {"model": standard_artifacts.Model, "model_blessing": standard_artifacts.ModelBlessing}
    inputs: dict[str, list] = {"memory": [], "sequences": []}
    for name, kind in kinds.items():
        inputs[name] = []
        for proto in made.store.get_artifacts_by_type(kind.TYPE_NAME):
            artifact = kind()
            artifact.set_mlmd_artifact(proto)
            inputs[name].append(artifact)
    models = Champion(DAYS.parse(day), 3).resolve_artifacts(None, inputs)["model"]
    return [model.get_int_custom_property("version") for model in models]


def test_a_bad_model_goes_with_all_that_descend_from_it(made):
    first, second, third, fourth, fifth = made.chain(5)
    assert resolved(made, "2024-05-06") == [fifth]
    roll_back(made.config, bad=third)
    assert made.revoked() == {
        third: "bots",
        fourth: f"descends from {third}: bots",
        fifth: f"descends from {third}: bots",
    }
    assert versions(made.config.serving_path) == [first, second]
    assert resolved(made, "2024-05-06") == [second]
    when = datetime.datetime.fromisoformat(made.model(fourth).custom_properties["revoked_at"].string_value)
    assert abs(datetime.datetime.now(datetime.timezone.utc) - when) < datetime.timedelta(minutes=5)


def test_to_a_version_takes_back_whatever_came_after_it(made):
    first, second, *_ = made.chain(3)
    fresh = made.day("2024-05-04", second, action="retrain")
    roll_back(made.config, to=second)
    assert set(made.revoked()) == {fresh - 100, fresh}
    assert versions(made.config.serving_path) == [first, second]


def test_a_model_trained_from_fresh_weights_does_not_descend_from_the_champion(made):
    _, second, _ = made.chain(3)
    fresh = made.day("2024-05-04", 2024050301, action="retrain")
    child = made.day("2024-05-05", fresh)
    roll_back(made.config, bad=second)
    assert set(made.revoked()) == {second, 2024050301}
    assert versions(made.config.serving_path) == [2024050101, fresh, child]
    assert read_serving_state(made.config).champion.version == child


def test_a_full_retrain_on_the_exemplars_of_a_bad_model_descends_from_it(made):
    made.day("2024-05-01")
    bad = made.day("2024-05-02", 2024050101, exemplars=7)
    fresh = made.day("2024-05-03", bad, action="retrain")
    roll_back(made.config, bad=bad)
    assert set(made.revoked()) == {bad, fresh}


def test_a_candidate_that_was_refused_is_taken_back_too(made):
    _, second = made.chain(2)
    refused = made.day("2024-05-03", second, blessed=False)
    fourth = made.day("2024-05-04", second)
    roll_back(made.config, bad=second)
    assert set(made.revoked()) == {second, refused, fourth}
    assert [(run.pushed, run.revoked) for run in read_ledger(made.config)] == [
        (2024050101, False), (second, True), (None, True), (fourth, True),
    ]  # fmt: skip


def test_of_a_span_that_was_run_again_only_the_bad_revision_goes(made):
    first, second, third = made.chain(3)
    again = [made.day("2024-05-02", first, revision=2), made.day("2024-05-03", 2024050202, revision=2)]
    roll_back(made.config, bad=second)
    assert set(made.revoked()) == {second, third}
    assert versions(made.config.serving_path) == [first, *again]
    assert resolved(made, "2024-05-04") == [again[-1]]


def test_what_the_champion_owes_is_said_and_so_is_what_the_next_run_does(made):
    _, second, third, _ = made.chain(4)
    lines = describe(make_rollback(made.config, bad=third), made.config)
    assert lines == [
        "revoked   2024050301, of 2024-05-03",
        "revoked   2024050401, of 2024-05-04, descends from 2024050301",
        "served    2024050401 -> 2024050201",
        "removed   2024050301, 2024050401 (the artifacts stay)",
        "champion  2024050201, of 2024-05-02",
        "owed      2024-05-03, 2024-05-04",
        "          The next run starts from 2024050201 and trains on them before its own span.",
        "          To do that now: `warmspan run --span 2024-05-04 --redo`.",
        "          If files of theirs were bad, mend them and run all again: `warmspan run --from 2024-05-03 --redo`.",
    ]
    assert made.revoked() == {}, "to say it changes nothing"
    roll_back(made.config, bad=third)
    serving_state = read_serving_state(made.config)
    assert (serving_state.served, serving_state.champion.version) == (second, second)
    assert [DAYS.format(span) for span in serving_state.owed] == ["2024-05-03", "2024-05-04"]
    lines = serving_state_lines(serving_state, made.config)
    assert lines[:2] == ["served    2024050201", "champion  2024050201"]
    assert lines[-2:] == [
        "revoked   2024050301: bots",
        "revoked   2024050401: descends from 2024050301: bots",
    ]


def test_more_owed_spans_than_allowed_mean_a_full_retrain(made):
    _, second, *_ = made.chain(5)
    update = dataclasses.replace(made.config.update, max_owed_spans=2, retrain_spans=9)
    config = made.config.model_copy(update={"update": update})
    said = "\n".join(describe(make_rollback(config, to=second), config))
    assert "More than update.max_owed_spans 2: the next run trains from fresh weights on its last 9 spans." in said


def test_a_version_that_had_left_the_folder_comes_back_as_it_was_pushed(made):
    first, second, third = made.chain(3)
    before = check_bundle(made.config.serving_path / str(second))
    for version in (first, second):
        shutil.rmtree(made.config.serving_path / str(version))
    planned = make_rollback(made.config, to=second)
    assert planned.restore
    assert f"served    {third} -> {second} (restored from its artifact)" in describe(planned, made.config)
    carry_out(made.config, planned, "bots")
    assert versions(made.config.serving_path) == [second]
    assert check_bundle(made.config.serving_path / str(second)) == before


@pytest.mark.parametrize("there", [True, False], ids=["in the folder", "as an artifact"])
def test_nothing_is_done_when_the_version_to_go_back_to_is_damaged(made, there):
    _, second, third = made.chain(3)
    if there:
        (made.config.serving_path / str(second) / "saved_model.pb").write_text("damaged")
    else:
        shutil.rmtree(made.config.serving_path / str(second))
        shutil.rmtree(made.config.artifacts_path)
    with pytest.raises(RollbackError, match=rf"Version {second} must be whole, .* Nothing was changed\."):
        roll_back(made.config, bad=third)
    assert made.revoked() == {}
    assert third in versions(made.config.serving_path)


def test_the_artifact_of_a_version_that_is_served_may_be_gone(made):
    _, second, third = made.chain(3)
    shutil.rmtree(made.config.artifacts_path)
    roll_back(made.config, bad=third)
    assert versions(made.config.serving_path)[-1] == second


@pytest.mark.parametrize(
    ("asked", "rule"),
    [
        ({}, "Either `--to` or `--bad` must be given. Received: neither"),
        ({"to": 2024050101, "bad": 2024050201}, "Received: both"),
        ({"bad": 9}, r"`--bad` must be a version that was pushed\. Received: 9\. Pushed and not revoked: 2024050101,"),
        ({"to": 9}, "`--to` must be a version that was pushed. Received: 9"),
        ({"bad": 2024050401}, "Received: 2024050401. That one was trained and never pushed."),
        ({"bad": 2024050101}, "must leave a version to serve. Received: every version that was pushed would be"),
    ],
)
def test_what_cannot_be_done_is_a_sentence(made, asked, rule):
    made.chain(3)
    made.day("2024-05-04", 2024050301, blessed=False)
    with pytest.raises(RollbackError, match=rule):
        make_rollback(made.config, **asked)


def test_one_cannot_go_back_to_a_version_that_was_revoked(made):
    _, _, third, fourth = made.chain(4)
    roll_back(made.config, bad=third)
    with pytest.raises(RollbackError, match=f"must be a version that was not revoked. Received: {fourth}, revoked: d"):
        make_rollback(made.config, to=fourth)


def test_before_the_first_run_there_is_nothing_to_roll_back(made):
    with pytest.raises(RollbackError, match="Pushed and not revoked: none"):
        make_rollback(made.config, bad=2024050101)


def test_a_folder_with_a_higher_version_of_somebody_else_is_refused(made):
    _, _, third = made.chain(3)
    (made.config.serving_path / "9999999999").mkdir()
    with pytest.raises(RollbackError, match=r"nothing above version 2024050201 .* Received: 9999999999"):
        make_rollback(made.config, bad=third)


def test_a_rollback_that_was_done_has_nothing_left_to_do(made):
    _, second, third, _ = made.chain(4)
    roll_back(made.config, bad=third)
    before = {path: path.stat().st_mtime_ns for path in made.config.serving_path.rglob("*")}
    for asked in ({"bad": third}, {"to": second}):
        assert make_rollback(made.config, **asked).empty
    assert {path: path.stat().st_mtime_ns for path in made.config.serving_path.rglob("*")} == before


def test_another_pipeline_in_the_same_store_is_left_alone(made):
    other = MadeStore(made.config.root.parent, name="other")
    other_versions = other.chain(3)
    own_versions = made.chain(3)
    roll_back(made.config, bad=own_versions[1])
    assert set(made.revoked()) == set(own_versions[1:])
    assert other.revoked() == {}
    assert versions(other.config.serving_path) == other_versions


def test_a_run_that_goes_on_keeps_a_rollback_out_and_a_rollback_a_change_in_between(made):
    _, _, third = made.chain(3)
    planned = make_rollback(made.config, bad=third)
    with (made.config.root / "run.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(LockedError, match="One run at a time"):
            carry_out(made.config, planned, "bots")
    made.day("2024-05-04", third)
    with pytest.raises(RollbackError, match="has changed since this was planned"):
        carry_out(made.config, planned, "bots")
    assert made.revoked() == {}


def test_ml_metadata_is_told_before_the_folder_and_a_repeat_or_the_next_run_ends_it(made, monkeypatch):
    first, second, third, fourth = made.chain(4)
    with monkeypatch.context() as patch:
        patch.setattr(rollback, "take_out", lambda *_: (_ for _ in ()).throw(OSError("cut off")))
        with pytest.raises(RollbackError, match="may still hold 2024050301, 2024050401: run the same command again"):
            roll_back(made.config, bad=third)
    assert set(made.revoked()) == {third, fourth}
    assert versions(made.config.serving_path) == [first, second, third, fourth]
    serving_state = read_serving_state(made.config)
    assert serving_state.left == (third, fourth)
    assert (
        "Still in the folder although revoked: 2024050301, 2024050401."
        in serving_state_lines(serving_state, made.config)[-1]
    )
    planned = make_rollback(made.config, bad=third)
    assert (planned.revoke, planned.leaving) == ((), (third, fourth))
    assert finish(made.config) == (third, fourth)
    assert versions(made.config.serving_path) == [first, second]
    # What has nothing to do with a rollback is not the next run's business.
    shutil.rmtree(made.config.artifacts_path)
    shutil.rmtree(made.config.serving_path / str(second))
    (made.config.serving_path / "9999999999").mkdir()
    assert finish(made.config) == ()


def test_when_ml_metadata_fails_the_old_version_is_served_on(made, monkeypatch):
    _, _, third = made.chain(3)
    monkeypatch.setattr(rollback, "revoke", lambda *_: (_ for _ in ()).throw(ConnectionError("gone")))
    with pytest.raises(ConnectionError):
        roll_back(made.config, bad=third)
    assert versions(made.config.serving_path)[-1] == third
    assert not read_serving_state(made.config).left


def test_labels_follow_before_the_folder_does(made, monkeypatch):
    first, second, third, fourth = made.chain(4)
    file = made.config.models_config_path
    write_labels(file, "shop", made.config.serving_path, {"stable": first, "canary": fourth})
    seen = []
    take_out = rollback.take_out
    monkeypatch.setattr(rollback, "take_out", lambda *args: (seen.append(read_labels(file, "shop")), take_out(*args)))
    # In between the servers get the time to read them again.
    monkeypatch.setattr(rollback.time, "sleep", lambda seconds: seen.extend([read_labels(file, "shop"), seconds]))
    planned = make_rollback(made.config, bad=third)
    assert f"canary    {fourth} -> {second}" in describe(planned, made.config)
    carry_out(made.config, planned, "bots", wait_seconds=9.0)
    assert seen == [{"stable": first, "canary": second}, 9.0, {"stable": first, "canary": second}]
    assert versions(made.config.serving_path) == [first, second]


def test_a_run_that_was_cut_off_is_begun_anew_when_what_it_started_from_was_revoked(made):
    _, _, third = made.chain(3)
    made.day("2024-05-04", third, blessed=None)
    run = read_run(made.config, DAYS.parse("2024-05-04"))
    assert (run.state, run.void, run.base_version) == ("unfinished", False, third)
    roll_back(made.config, bad=third)
    ledger = read_ledger(made.config)
    assert (ledger[-1].void, ledger[-1].revoked, ledger[-1].base_revoked) == (True, True, True)
    delivered = {run.span: Delivery(None, "") for run in ledger}
    assert make_plan(ledger, delivered, DAYS) == [Step(DAYS.parse("2024-05-04"), 2)]


def test_a_run_cut_off_before_its_training_is_begun_anew_too(made):
    made.chain(1)
    run = dataclasses.replace(read_run(made.config, DAYS.parse("2024-05-01")), state="failed")
    assert make_plan([run], {run.span: Delivery(None, "")}, DAYS) == [Step(run.span, 1)]
    again = dataclasses.replace(run, base_revoked=True)
    assert make_plan([again], {run.span: Delivery(None, "")}, DAYS) == [Step(run.span, 2)]
    assert not dataclasses.replace(again, state="done").void


def test_the_ledger_says_what_each_model_started_from_and_trained_on(made):
    made.chain(2)
    spans = [DAYS.parse(name) for name in ("2024-05-03", "2024-05-04")]
    made.day("2024-05-04", 2024050201, train_on=spans)
    first, second, third = read_ledger(made.config)
    assert (first.base_version, second.base_version, third.base_version) == (None, 2024050101, 2024050201)
    assert third.trained_on == tuple(spans)
    assert not third.revoked
    roll_back(made.config, reason="bots on 2024-05-04", bad=third.pushed)
    assert read_ledger(made.config)[-1].revoked_reason == "bots on 2024-05-04"


def test_a_revoked_model_is_neither_pushed_nor_a_base_when_a_node_is_tried_again():
    model = standard_artifacts.Model()
    model.set_int_custom_property("version", 7)
    refuse_revoked(model, "pushed")
    model.set_int_custom_property("revoked", 1)
    model.set_string_custom_property("revoked_reason", "bots")
    with pytest.raises(RevokedError, match=r"must not be pushed\. Received: version 7 \(bots\)"):
        refuse_revoked(model, "pushed")


def test_the_pusher_refuses_before_it_touches_the_folder(tmp_path):
    model, blessing = standard_artifacts.Model(), standard_artifacts.ModelBlessing()
    model.set_int_custom_property("revoked", 1)
    blessing.set_int_custom_property("blessed", 1)
    inputs = {"model": [model], "model_blessing": [blessing], "evaluation": [standard_artifacts.ModelEvaluation()]}
    with pytest.raises(RevokedError, match="must not be pushed"):
        component.Executor(component.Executor.Context()).Do(inputs, {}, {"span": 1, "served": str(tmp_path)})
    assert list(tmp_path.iterdir()) == []


def test_the_pusher_keeps_labelled_versions(made, monkeypatch):
    first, _, third = made.chain(3)
    shutil.rmtree(made.config.serving_path / str(third))
    write_labels(made.config.models_config_path, "shop", made.config.serving_path, {"stable": first})
    monkeypatch.setattr(component, "read_verdict", lambda *_: Verdict(True, "Blessed.", {}, {}))
    model, blessing, pushed = (
        kind() for kind in (standard_artifacts.Model, standard_artifacts.ModelBlessing, standard_artifacts.PushedModel)
    )
    model.uri = made.model(third).uri
    model.set_int_custom_property("version", third)
    blessing.set_int_custom_property("blessed", 1)
    pushed.uri = str(made.config.root)
    inputs = {"model": [model], "model_blessing": [blessing], "evaluation": [standard_artifacts.ModelEvaluation()]}
    monkeypatch.setattr(component, "validate", lambda *_: Validation("", {}))  # a made model answers nothing
    served = str(made.config.serving_path)
    properties = {"span": 1, "served": served, "keep_versions": 1, "latency_budget_ms": 1000.0}
    component.Executor(component.Executor.Context()).Do(inputs, {"pushed": [pushed]}, properties)
    assert versions(made.config.serving_path) == [first, third]


def test_the_champion_is_that_of_the_pipelines_own_resolver(made):
    for number, (base, blessed) in enumerate([(None, True), (1, False), (1, True), (3, True), (4, None)], start=1):
        made.day(f"2024-05-{number:02d}", base and 2024050001 + 100 * base, blessed=blessed)
    for gone in ([], [4], [3, 4]):
        bad = {model.id for model in model_lineage_in(made.store, "shop").models if model.version // 100 % 100 in gone}
        if bad:
            lineage.revoke(made.store, dict.fromkeys(bad, "bots"), "now")
        champion = model_lineage_in(made.store, "shop").champion()
        assert [champion.version] == resolved(made, "2024-05-06")


def test_the_bundle_lies_where_the_trainer_writes_it():
    assert BUNDLE_FOLDER == SERVING_FOLDER


def test_a_version_that_is_revoked_is_not_pushed_back_by_hand_unnoticed(made):
    _, _, third = made.chain(3)
    artifact = made.config.artifacts_path / "IncrementalTrainer" / "model" / str(third) / BUNDLE_FOLDER
    roll_back(made.config, bad=third)
    push(artifact, made.config.serving_path, third, {})
    assert read_serving_state(made.config).left == (third,)
    assert finish(made.config) == (third,)
