"""Labels move between versions, on the command line and for the embedded server that reads the file."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import urllib3
from typer.testing import CliRunner, Result

from components.span_pusher.version_folder import drop_old, versions
from components.span_pusher.version_labels import knows, read_labels
from pipeline.cli.app import app
from pipeline.config import Config
from pipeline.metadata_store.connection import open_store
from pipeline.operations.promotion import PromotionError, assign_label, remove_label, write_first_labels
from pipeline.operations.rollback import carry_out, make_rollback
from serving.bundle import Manifest, fingerprints
from serving.server.rest_server import RestServer
from tests.pipeline.made_store import MadeStore
from tests.serving import rest_models

ONE, TWO, THREE, FOUR, FIVE = (2024050001 + 100 * day for day in range(1, 6))


def labels(config: Config) -> dict[str, int]:
    return read_labels(config.models_config_path, "shop")


def test_the_newest_is_promoted_then_the_canary(made):
    made.chain(3)
    assert assign_label(made.config, "stable") == {"stable": THREE}
    assert assign_label(made.config, "canary", TWO) == {"stable": THREE, "canary": TWO}
    assert assign_label(made.config, "stable") == {"stable": TWO, "canary": TWO} == labels(made.config)
    # There is nothing more to try out: the newest again.
    assert assign_label(made.config, "stable") == {"stable": THREE, "canary": TWO} == labels(made.config)
    assert assign_label(made.config, "stable", TWO) == {"stable": TWO, "canary": TWO} == labels(made.config)
    assert remove_label(made.config, "canary") == {"stable": TWO} == labels(made.config)
    assert remove_label(made.config, "stable") == {} == labels(made.config)


def test_both_labels_begin_at_the_newest_version_and_are_then_left_alone(made):
    write_first_labels(made.config)
    assert (labels(made.config), knows(made.config.models_config_path, "shop")) == ({}, True)
    made.chain(2)
    write_first_labels(made.config)
    assert labels(made.config) == {}
    made.config.models_config_path.unlink()
    write_first_labels(made.config)
    assert labels(made.config) == {"stable": TWO, "canary": TWO}
    assign_label(made.config, "stable", ONE)
    write_first_labels(made.config)
    assert labels(made.config) == {"stable": ONE, "canary": TWO}
    made.config.models_config_path.write_text("oops {")
    with pytest.raises(PromotionError, match="must be a ModelServerConfig in text form"):
        write_first_labels(made.config)


def test_a_canary_without_a_stable_version_is_refused(made):
    made.chain(2)
    with pytest.raises(PromotionError, match=r"`stable` must name a version before .* Run `warmspan promote VERSION`"):
        assign_label(made.config, "canary", TWO)
    assert not made.config.models_config_path.exists()


def test_what_was_never_pushed_or_was_revoked_gets_no_label(made):
    made.chain(2)
    made.day("2024-05-03", TWO, blessed=False)
    for version, why in ((9, "Received: 9"), (THREE, "That one was trained and never pushed")):
        with pytest.raises(PromotionError, match=f"`VERSION` must be a version that was pushed.*{why}"):
            assign_label(made.config, "stable", version)
    carry_out(made.config, make_rollback(made.config, bad=TWO), "bots")
    with pytest.raises(PromotionError, match=f"must not be revoked. Received: {TWO}, revoked: bots"):
        assign_label(made.config, "stable", TWO)
    assert assign_label(made.config, "stable") == {"stable": ONE}


def test_before_the_first_push_there_is_nothing_to_promote(made):
    with pytest.raises(PromotionError, match="Received: none that is not revoked"):
        assign_label(made.config, "stable")


def test_a_labelled_version_outlives_keep_versions_and_one_that_was_dropped_comes_back(made):
    made.chain(4)
    assign_label(made.config, "stable", TWO)
    drop_old(made.config.serving_path, 1, labels(made.config).values())
    assert versions(made.config.serving_path) == [TWO, FOUR]
    assign_label(made.config, "stable", ONE)
    assert versions(made.config.serving_path) == [ONE, TWO, FOUR]


def invoke(made: MadeStore, *args: str, answer: str = "") -> Result:
    return CliRunner().invoke(app, [*args, "--config", str(made.config.root.parent / "warmspan.yaml")], input=answer)


def test_the_commands_for_labels_say_where_they_are_written(made):
    made.chain(3)
    done = invoke(made, "promote", str(TWO))
    assert (done.exit_code, done.stdout.split()[:2]) == (0, ["stable", str(TWO)])
    assert f"Written to {made.config.models_config_path}." in done.stdout
    assert invoke(made, "canary", str(THREE)).stdout.split()[:4] == ["stable", str(TWO), "canary", str(THREE)]
    assert invoke(made, "canary").exit_code == 1
    assert invoke(made, "canary", str(THREE), "--off").exit_code == 1
    assert "No labels: the newest version is served." in invoke(made, "promote", "--off").stdout
    refused = invoke(made, "promote", "9")
    assert (refused.exit_code, "Traceback" in refused.output) == (1, False)


def test_the_status_names_what_is_served_under_which_label(made):
    made.chain(3)
    assert "served    2024050301\nchampion  2024050301" in invoke(made, "status").stdout
    assign_label(made.config, "stable", ONE)
    assign_label(made.config, "canary", TWO)
    said = invoke(made, "status").stdout
    assert f"stable    {ONE}\ncanary    {TWO}\nnewest    {THREE}, without a label\nchampion  {THREE}" in said


def test_a_models_config_that_cannot_be_read_is_named_and_stops_what_would_write_it(made):
    _, _, third = made.chain(3)
    made.config.models_config_path.write_text("oops {")
    for args in (("rollback", "--bad", str(third), "--yes"), ("promote",), ("promote", "--off")):
        done = invoke(made, *args)
        assert (done.exit_code, "Traceback" in done.output) == (1, False)
    said = invoke(made, "status")
    assert (said.exit_code, "must be a ModelServerConfig in text form" in said.stdout) == (0, True)
    assert (made.revoked(), made.config.models_config_path.read_text()) == ({}, "oops {")


def test_a_rollback_asks_first_and_a_dry_run_only_says(made):
    _, second, third = made.chain(3)
    said = invoke(made, "rollback", "--bad", str(third), "--dry-run")
    assert (said.exit_code, "Nothing was changed." in said.stdout) == (0, True)
    assert f"served    {third} -> {second}" in said.stdout
    no = invoke(made, "rollback", "--bad", str(third), answer="n\n")
    assert (no.exit_code, "Roll back?" in no.stdout, made.revoked()) == (1, True, {})
    yes = invoke(made, "rollback", "--bad", str(third), "--reason", "bots", answer="y\n")
    assert (yes.exit_code, made.revoked()) == (0, {third: "bots"})
    again = invoke(made, "rollback", "--bad", str(third))
    assert (again.exit_code, "Nothing to do" in again.stdout, "Roll back?" in again.stdout) == (0, True, False)
    refused = invoke(made, "rollback", "--to", str(third), "--yes")
    assert (refused.exit_code, "Traceback" in refused.output) == (1, False)
    assert "revoked" in next(line for line in invoke(made, "status").stdout.splitlines() if str(third) in line)


def test_a_run_without_anything_new_says_what_is_owed_and_how_to_catch_up(made):
    made.chain(2)
    for name in ("2024-05-01", "2024-05-02"):
        (made.config.data.path / name).mkdir(parents=True)
        (made.config.data.path / name / "events.csv").write_text("user_id\n")
    carry_out(made.config, make_rollback(made.config, bad=TWO), "bots")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.planning.deliveries.fingerprint", lambda files, cache: "")
        said = invoke(made, "run").stdout
    assert "Nothing to do." in said
    assert "owed      2024-05-02\n" in said
    assert "`warmspan run --span 2024-05-02 --redo`" in said


def test_a_revoked_version_stays_in_the_status_when_its_day_was_run_again(made):
    made.chain(2)
    carry_out(made.config, make_rollback(made.config, bad=TWO), "bots")
    made.day("2024-05-02", ONE, revision=2)
    rows = [line.split() for line in invoke(made, "status").stdout.splitlines() if line.startswith("2024-05-02")]
    assert [(row[1] if row[1] == "r2" else "r1", row[-2]) for row in rows] == [("r1", str(TWO)), ("r2", str(TWO + 1))]


def test_the_store_is_not_made_by_looking(tmp_path):
    assert open_store(Config(name="shop", root=tmp_path, data={"path": tmp_path, "columns": _COLUMNS})) is None
    assert list(tmp_path.iterdir()) == []


_COLUMNS = {"key": "user_id", "item": "item_id", "timestamp": "timestamp"}


def half_plus(folder: Path, content: str) -> None:
    """A bundle whose model answers x / 2 + the day, for `model <version>` as its content."""
    rest_models.half_plus(folder, int(content.split()[1]) // 100 % 100)
    Manifest({}, fingerprints(folder)).write(folder)


def eventually(check: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)


def test_a_server_follows_promote_canary_and_rollback(tmp_path):
    made = MadeStore(tmp_path, make=half_plus)
    made.chain(4)
    shutil.rmtree(made.config.serving_path / str(ONE))  # let go by push.keep_versions
    assign_label(made.config, "stable", TWO)
    with RestServer(made.config.models_config_path, poll_seconds=0.05) as server:

        def ask(path: str = "") -> Any:
            url = f"{server.url}/v1/models/shop{path}:predict"
            response = urllib3.request("POST", url, json={"instances": [0.0]})
            return response.json().get("predictions", [response.status])[0]

        assert (ask("/labels/stable"), ask("/labels/canary"), ask()) == (2.0, 400, 4.0)
        assign_label(made.config, "canary", THREE)
        eventually(lambda: ask("/labels/canary") == 3.0)

        # From the very moment of its push a version can be the canary and then the stable one: no request fails.
        answers, stop = {"stable": [], "canary": []}, threading.Event()

        def go_on_asking(label: str) -> None:
            while not stop.is_set():
                answers[label].append(ask(f"/labels/{label}"))

        asking = [threading.Thread(target=go_on_asking, args=(label,)) for label in answers]
        for thread in asking:
            thread.start()
        try:
            made.day("2024-05-05", FOUR)
            assign_label(made.config, "canary", FIVE)
            eventually(lambda: ask("/labels/canary") == 5.0)
            assign_label(made.config, "stable")
            eventually(lambda: ask("/labels/stable") == 5.0)
            # A version that had been let go is loaded first.
            assign_label(made.config, "stable", ONE)
            eventually(lambda: ask("/labels/stable") == 1.0)
            assign_label(made.config, "stable", FIVE)
            eventually(lambda: ask("/labels/stable") == 5.0)
            # Both labels leave what is revoked.
            carry_out(made.config, make_rollback(made.config, bad=TWO), "bots")
            eventually(lambda: (ask("/labels/stable"), ask("/labels/canary"), ask()) == (1.0, 1.0, 1.0))
        finally:
            stop.set()
            for thread in asking:
                thread.join()
        assert set(answers["stable"]) == {1.0, 2.0, 5.0}
        assert set(answers["canary"]) == {1.0, 3.0, 5.0}
        eventually(lambda: ask(f"/versions/{FOUR}") == 404)


def test_a_server_without_labels_goes_back_without_a_failed_request(tmp_path):
    made = MadeStore(tmp_path, make=half_plus)
    made.chain(3)
    with RestServer({"shop": made.config.serving_path}, poll_seconds=0.05) as server:
        answers, stop = [], threading.Event()

        def ask() -> Any:
            response = urllib3.request("POST", f"{server.url}/v1/models/shop:predict", json={"instances": [0.0]})
            return response.json().get("predictions", [response.status])[0]

        def go_on_asking() -> None:
            while not stop.is_set():
                answers.append(ask())

        asking = threading.Thread(target=go_on_asking)
        asking.start()
        try:
            eventually(lambda: 3.0 in answers)
            carry_out(made.config, make_rollback(made.config, bad=TWO), "bots")
            # What it has asked itself: another's answer says nothing of the requests in between.
            eventually(lambda: answers[-1] == 1.0)
        finally:
            stop.set()
            asking.join()
        assert sorted(set(answers)) == [1.0, 3.0], "never the version in between, never an error"
