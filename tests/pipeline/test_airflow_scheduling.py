"""Runs by hand, out of order, cleared and at once, in a real scheduler; see `airflow_scheduler`.

The command is a stand-in with the ledger's rules in a few lines of shell: the nodes themselves are tested elsewhere.
"""

from __future__ import annotations

import datetime
import os
from pathlib import Path

import pytest

from tests.pipeline.airflow_scheduler import Scheduler

DAG_FILE = Path(__file__).resolve().parents[2] / "pipeline" / "airflow_dag.py"
# The next night is twelve hours away, so that none comes while the tests run.
NOW = datetime.datetime.now(datetime.timezone.utc)
TIME_OF_DAY = datetime.timedelta(hours=(NOW.hour + 12) % 24)
DUE = (NOW - TIME_OF_DAY).date() - datetime.timedelta(days=1)
# The last three days on schedule, and two that are not due yet.
DAYS = [str(DUE + datetime.timedelta(days=number)) for number in range(-2, 3)]
LAST = DAYS[2]
# A recommender of its own a case: its first span, and the days that have files.
SHOPS = {
    "by_hand": (LAST, DAYS[2:4]),
    "older": (DAYS[0], DAYS),
    "no_files": (DAYS[0], DAYS[:1]),
    "cleared": (LAST, DAYS),
    "at_once": (LAST, DAYS),
    "held": (DAYS[0], DAYS),
}
HELD = DAYS[1]  # of the shop of that name
# $3 nodes ... --config FILE --span DAY OPTIONS
_STAND_IN = """\
#!/bin/sh
while [ "$1" != --config ]; do shift; done
shop="${2%.yaml}"; day="$4"; shift 4
echo "$day $*" >> "$shop/calls"
mkdir "$shop/lock" || { echo "One run at a time may use a pipeline root."; exit 1; }
trap 'rmdir "$shop/lock"' EXIT
refuse() { echo "$1"; case "$2" in *--skip-refused*) exit 99;; esac; exit 1; }
case "$*" in *--skip-done*) [ -e "$shop/done/$day" ] && { echo "The whole day was done before."; exit 99; };; esac
[ -e "$shop/events/$day" ] || refuse "The spans asked for must have files. Received: none for $day." "$*"
last=$(ls "$shop/done" | tail -n 1)
before=$(date -d "$day - 1 day" +%F)
case "$*" in
  *--allow-gaps*) ;;
  *) [ "${last:-$before}" = "$before" ] || refuse "Spans must be run in order." "$*";;
esac
sleep 1
touch "$shop/done/$day"
[ ! -e "$shop/held/$day" ] || { echo "It is held."; exit 99; }
"""


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory, database: Path):
    """A scheduler whose nights are over: every run on schedule is done or failed."""
    folder = tmp_path_factory.mktemp("nights")
    command = folder / "stand_in"
    command.write_text(_STAND_IN)
    command.chmod(0o755)
    given = {
        "WARMSPAN_CONFIG": str(folder / "*.yaml"),
        "WARMSPAN_CLI": str(command),
        "WARMSPAN_SCHEDULE": f"0 {TIME_OF_DAY.seconds // 3600} * * *",
        "WARMSPAN_TASKS": "day",
    }
    for shop, (first, delivered) in SHOPS.items():
        (folder / f"{shop}.yaml").write_text(f"name: {shop}\n")
        given[f"WARMSPAN_START_{shop}"] = first
        for name in ("done", "events"):
            (folder / shop / name).mkdir(parents=True)
        for day in delivered:
            (folder / shop / "events" / day).touch()
    (folder / "held" / "held").mkdir()
    (folder / "held" / "held" / HELD).touch()
    scheduler = Scheduler(os.environ["WARMSPAN_AIRFLOW_PYTHON"], folder, DAG_FILE, database, given)
    with scheduler.running():
        scheduler.wait(lambda: len(scheduler.dags()) == len(SHOPS))
        # It waits until the DAG is unpaused, and its date lies between two days on schedule.
        between = datetime.datetime.fromisoformat(f"{DAYS[1]}T00:00:00+00:00") + TIME_OF_DAY
        scheduler.trigger(
            "warmspan_older", "older", logical_date=str(between + datetime.timedelta(hours=9)).replace(" ", "T")
        )
        scheduler.command("dags", "unpause", "--yes", "--treat-dag-id-as-regex", "warmspan_.*")
        for shop, (first, delivered) in SHOPS.items():
            days = [day for day in DAYS[:3] if day >= first]
            tried = days[: days.index(delivered[-1]) + 2] if delivered[-1] in days else days
            scheduler.wait(lambda dag=f"warmspan_{shop}", tried=tried: scheduler.settled(dag, *tried))
        yield scheduler


def calls(nights: Scheduler, shop: str) -> list[str]:
    return (nights.folder / shop / "calls").read_text().splitlines()


def by_hand(nights: Scheduler, dag: str, run_id: str, *options: str) -> tuple[str, list[str]]:
    """What a run that is triggered comes to: its state, and those of its tasks."""
    nights.trigger(dag, run_id, *options)
    nights.wait(lambda: nights.settled(dag, run_id))
    return nights.runs(dag)[run_id], nights.tasks(dag, run_id)


def test_a_run_by_hand_is_of_the_day_that_is_due_or_named_and_never_stops_the_nights(nights):
    dag = "warmspan_by_hand"
    assert by_hand(nights, dag, "due") == ("success", ["skipped"])
    assert "The whole day was done before" in nights.log(dag, "due")
    assert by_hand(nights, dag, "next", "--conf", f'{{"span": "{DAYS[3]}"}}') == ("success", ["success"])
    assert by_hand(nights, dag, "after", "--conf", f'{{"span": "{DAYS[4]}"}}') == ("success", ["skipped"])
    assert f"must have files. Received: none for {DAYS[4]}" in nights.log(dag, "after")
    assert not nights.dags()[dag], "the next night must come"
    asked = [call.removesuffix(" --skip-refused") for call in calls(nights, "by_hand")[1:]]
    assert asked == [f"{day} --skip-done" for day in DAYS[2:]]


def test_a_run_of_an_older_day_changes_nothing_for_the_days_on_schedule(nights):
    dag = "warmspan_older"
    nights.wait(lambda: nights.settled(dag, "older"))
    assert nights.runs(dag) == {"older": "success", **dict.fromkeys(DAYS[:3], "success")}
    on_schedule = [f"{day} --skip-done --allow-gaps" for day in DAYS[:3]]
    assert sorted(calls(nights, "older")) == sorted([*on_schedule, f"{DAYS[0]} --skip-done --skip-refused"])
    assert not nights.dags()[dag]


def test_a_held_day_is_skipped_and_the_day_after_it_comes_on_schedule(nights):
    dag = "warmspan_held"
    nights.wait(lambda: nights.settled(dag, *DAYS[:3]))
    assert nights.runs(dag) == dict.fromkeys(DAYS[:3], "success")
    assert [nights.tasks(dag, day) for day in DAYS[:3]] == [["success"], ["skipped"], ["success"]]
    assert calls(nights, "held") == [f"{day} --skip-done --allow-gaps" for day in DAYS[:3]]
    assert not nights.dags()[dag], "the nights go on"


def test_a_day_without_files_fails_and_goes_on_when_it_is_cleared(nights):
    dag = "warmspan_no_files"
    nights.wait(lambda: nights.dags()[dag])  # paused
    nights.command("dags", "unpause", dag)
    nights.wait(lambda: nights.settled(dag, LAST) and nights.dags()[dag])
    assert nights.runs(dag) == {DAYS[0]: "success", DAYS[1]: "failed", LAST: "failed"}
    assert calls(nights, "no_files")[2:] == [f"{LAST} --skip-done"], "without a right to pass over the day before it"
    for day in DAYS[1:3]:
        (nights.folder / "no_files" / "events" / day).touch()
    nights.command("tasks", "clear", "--yes", "--start-date", DAYS[1], dag)
    nights.command("dags", "unpause", dag)
    nights.wait(lambda: set(nights.runs(dag).values()) == {"success"})
    assert nights.runs(dag) == dict.fromkeys(DAYS[:3], "success")
    assert f"The run of {DAYS[1]} has not succeeded in Airflow" in nights.log(dag, "scheduled")


def test_a_day_that_is_done_is_skipped_when_it_is_cleared_or_backfilled(nights):
    dag = "warmspan_cleared"
    assert nights.tasks(dag, LAST) == ["success"]
    nights.command("tasks", "clear", "--yes", dag)
    nights.wait(lambda: nights.tasks(dag, LAST) == ["skipped"])
    assert "The whole day was done before" in nights.log(dag, "scheduled")
    if nights.major == 3:
        dates = ("--from-date", LAST, "--to-date", DAYS[3], "--reprocess-behavior", "completed")
        nights.command("backfill", "create", "--dag-id", dag, *dates)
    else:
        nights.command("dags", "backfill", "-s", LAST, "-e", DAYS[3], "--reset-dagruns", "--yes", dag)
    nights.wait(lambda: len(calls(nights, "cleared")) == 3 and nights.settled(dag, LAST))
    assert nights.tasks(dag, LAST) == ["skipped"]


def test_two_runs_at_once_are_run_one_after_the_other(nights):
    dag = "warmspan_at_once"
    for run_id, day in (("first", DAYS[3]), ("second", DAYS[4])):
        nights.trigger(dag, run_id, "--conf", f'{{"span": "{day}"}}')
    nights.wait(lambda: nights.settled(dag, "first", "second"))
    assert nights.tasks(dag, "first") == nights.tasks(dag, "second") == ["success"]
    assert sorted(path.name for path in (nights.folder / "at_once" / "done").iterdir()) == DAYS[2:]
