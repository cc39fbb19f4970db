"""What lets a held span in: one property in the ledger, told by a command that says what follows."""

from __future__ import annotations

import filelock
import pytest
from typer.testing import CliRunner

from pipeline.cli.app import app
from pipeline.ledger.releases import REASON
from pipeline.ledger.runs import read_ledger, read_run
from pipeline.metadata_store.exclusive import LockedError
from pipeline.monitoring.alerts import Alert, alerts_of
from pipeline.monitoring.status import held_lines
from pipeline.operations.release import ReleaseError, release
from pipeline.orchestration.daily_run import summary
from pipeline.spans import SpanNameError
from tests.pipeline.made_store import DAYS, MadeStore

HELD = "2024-05-03"
WAITS = f"It is held: events 9: usual 400 to 500. To let it in: `warmspan release {HELD}`."


@pytest.fixture
def with_held(made: MadeStore) -> MadeStore:
    made.chain(2)
    made.held(HELD)
    folder = made.config.data.path / HELD
    folder.mkdir(parents=True)
    (folder / "events.csv").write_text("user_id,item_id,timestamp,quantity\n")
    return made


def test_the_ledger_knows_a_held_day(with_held: MadeStore):
    run = read_ledger(with_held.config)[-1]
    assert (run.name, run.state, run.doubts, run.released) == (HELD, "held", "events 9: usual 400 to 500", False)
    assert alerts_of(run) == [Alert("held", HELD, "r01", WAITS)]
    assert held_lines([run]) == [f"{HELD}: {WAITS}"]
    said = summary(run, DAYS)
    assert "held: events 9: usual 400 to 500" in said
    assert f"to let it in: `warmspan release {HELD}`" in said


def test_a_release_is_one_mark_and_a_repeat_changes_nothing(with_held: MadeStore):
    lines = release(with_held.config, HELD, "Easter")
    assert lines == [f"{HELD} is released: events 9: usual 400 to 500.", "The next `warmspan run` takes it up."]
    run = read_run(with_held.config, DAYS.parse(HELD))
    assert (run.state, run.released) == ("held", True)
    assert release(with_held.config, HELD, "another") == lines
    (profile,) = with_held.store.get_artifacts_by_type("WarmspanSpanProfile")
    assert profile.custom_properties[REASON].string_value == "Easter"
    assert "is released: the next run takes it up" in held_lines([run])[0]


def test_where_later_days_were_run_it_says_what_is_run_again(with_held: MadeStore):
    with_held.day("2024-05-04", 2024050201)
    assert release(with_held.config, HELD, "Easter")[1] == (
        "Run since, without it: 2024-05-04. To bring it in, they are run again after it: `warmspan run --from "
        f"{HELD} --redo`, or `warmspan run --plan`."
    )


def test_where_its_files_are_gone_it_says_so(with_held: MadeStore):
    (with_held.config.data.path / HELD / "events.csv").unlink()
    assert "Its files are gone" in release(with_held.config, HELD, "Easter")[1]


def test_only_a_held_day_can_be_released(with_held: MadeStore):
    with pytest.raises(ReleaseError, match=r"Received: 2024-05-02, which is done\. Held: 2024-05-03\."):
        release(with_held.config, "2024-05-02", "")
    with pytest.raises(ReleaseError, match=r"Received: 2024-06-01, which was never run\. Held: 2024-05-03\."):
        release(with_held.config, "2024-06-01", "")
    with pytest.raises(SpanNameError):
        release(with_held.config, "3 May", "")


def test_a_run_that_goes_on_is_waited_for(with_held: MadeStore):
    with filelock.FileLock(with_held.config.root / "run.lock"), pytest.raises(LockedError):
        release(with_held.config, HELD, "Easter")
    assert not read_run(with_held.config, DAYS.parse(HELD)).released


@pytest.mark.filterwarnings("default")
def test_the_command(with_held: MadeStore):
    config = str(with_held.config.root.parent / "warmspan.yaml")
    refused = CliRunner().invoke(app, ["release", "2024-05-02", "--config", config])
    assert refused.exit_code == 1
    done = CliRunner().invoke(app, ["release", HELD, "--config", config, "--reason", "Easter"])
    assert (done.exit_code, done.stdout.splitlines()[0]) == (0, f"{HELD} is released: events 9: usual 400 to 500.")
    assert "released" in CliRunner().invoke(app, ["status", "--config", config]).stdout


def test_the_next_revision_counts_once_it_has_a_profile_of_its_own(with_held: MadeStore):
    release(with_held.config, HELD, "Easter")
    with_held.day(HELD, 2024050201, revision=2)
    run = read_ledger(with_held.config)[-1]
    assert (run.revision, run.state, run.doubts) == (2, "done", "")
