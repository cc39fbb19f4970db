"""What the plan finds in a ledger and a data folder, and what it runs because of it."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner

from pipeline.cli import plan as cli_nightly
from pipeline.cli.app import app
from pipeline.cli.plan import findings_table
from pipeline.config import Config, load_config
from pipeline.ledger.runs import Run, read_ledger
from pipeline.operations.adoption import carry_out, make_adoption
from pipeline.orchestration.daily_run import run_steps
from pipeline.planning.deliveries import read_deliveries
from pipeline.planning.reconciliation import Reconciliation, reconcile
from pipeline.planning.run_plan import Step, make_plan
from pipeline.spans import Naming
from serving.bundle import check_bundle
from tests.pipeline.planning.test_run_plan import NUMBERS, files, run

DAYS = Naming(dated=True)


def findings_of(reconciliation: Reconciliation) -> list[tuple[str, str, list[int]]]:
    return [(finding.name, finding.kind, [step.span for step in finding.run]) for finding in reconciliation.findings]


def test_nothing_to_find():
    assert reconcile([run(1), run(2)], files(1, 2), NUMBERS) == Reconciliation((), ())
    assert reconcile([], {}, NUMBERS) == Reconciliation((), ())


def test_spans_that_were_never_run_are_backfilled_in_order():
    reconciliation = reconcile([run(1)], files(1, 2, 3), NUMBERS)
    assert findings_of(reconciliation) == [("2", "backfill", [2]), ("3", "backfill", [3])]
    assert reconciliation.steps == (Step(2, 1), Step(3, 1))
    assert reconcile([], files(4, 5), NUMBERS).steps == (Step(4, 1), Step(5, 1))


@pytest.mark.parametrize(("state", "sentence"), [("failed", "Its run failed."), ("unfinished", "Its run was killed.")])
def test_a_run_that_did_not_end_is_tried_again_under_its_revision(state, sentence):
    reconciliation = reconcile([run(1), run(2, state, revision=3)], files(1, 2), NUMBERS)
    assert findings_of(reconciliation) == [("2", "retry", [2])]
    assert reconciliation.findings[0].sentence == sentence
    assert reconciliation.steps == (Step(2, 3),)


def test_a_run_whose_first_model_was_taken_back_begins_anew():
    broken = dataclasses.replace(run(2, "failed"), base_revoked=True)
    reconciliation = reconcile([run(1), broken], files(1, 2), NUMBERS)
    assert reconciliation.steps == (Step(2, 2),)
    assert "was taken back since" in reconciliation.findings[0].sentence


def test_a_late_span_and_all_after_it_are_run():
    reconciliation = reconcile([run(1), run(3), run(4)], files(1, 2, 3, 4, 5), NUMBERS)
    assert findings_of(reconciliation) == [("2", "late", [2, 3, 4]), ("5", "backfill", [5])]
    assert reconciliation.findings[0].sentence == "It came after 3, 4 had been run."
    assert reconciliation.steps == (Step(2, 1), Step(3, 2), Step(4, 2), Step(5, 1))


def test_a_changed_span_and_all_after_it_are_run_again():
    ledger = [run(1, delivery=0), run(2, delivery=0), run(3, delivery=0, revision=2)]
    reconciliation = reconcile(ledger, {**files(1, 2, 3, version=0), **files(2, version=1)}, NUMBERS)
    assert findings_of(reconciliation) == [("2", "changed", [2, 3])]
    assert reconciliation.findings[0].sentence == "Version 1 has come; version 0 was trained on, and 3 stand on it."
    assert reconciliation.steps == (Step(2, 2), Step(3, 3))


def test_the_last_span_delivered_again_is_run_again_alone():
    reconciliation = reconcile([run(1), run(2)], {**files(1, 2), **files(2, fingerprint="b")}, NUMBERS)
    assert findings_of(reconciliation) == [("2", "re-delivered", [2])]
    assert reconciliation.steps == (Step(2, 2),)


def test_a_redo_that_was_cut_off_between_two_spans_goes_on():
    # 2 was run again after 3 and 4; its files are now those that were run, so that nothing but the order tells.
    ledger = [run(1), run(2, revision=2), run(3), run(4)]
    order = {1: (1, 9), 2: (40, 49), 3: (20, 29), 4: (30, 39)}
    reconciliation = reconcile(ledger, files(1, 2, 3, 4), NUMBERS, order)
    assert findings_of(reconciliation) == [("3", "outdated", [3, 4]), ("4", "outdated", [4])]
    assert reconciliation.findings[0].sentence == "It stands on 2, which was run again since."
    assert reconciliation.steps == (Step(3, 2), Step(4, 2))


def test_a_redo_that_failed_goes_on_under_its_revision():
    ledger = [run(1), run(2, "failed", revision=2), run(3)]
    reconciliation = reconcile(ledger, files(1, 2, 3), NUMBERS)
    assert findings_of(reconciliation) == [("2", "retry", [2, 3])]
    assert reconciliation.steps == (Step(2, 2), Step(3, 2))


def test_a_gap_waits_for_a_person_and_what_comes_before_it_is_run():
    reconciliation = reconcile([run(1)], files(1, 2, 5, 6), NUMBERS)
    waiting = [("5", "backfill", []), ("6", "backfill", [])]
    assert findings_of(reconciliation) == [("2", "backfill", [2]), ("3 to 4", "gap", []), *waiting]
    assert [finding.name for finding in reconciliation.waiting] == ["3 to 4"]
    assert reconciliation.steps == (Step(2, 1),)
    assert reconciliation.findings[2].sentence == "It has come and was never run. It waits for 3."


def test_a_gap_that_is_allowed_is_named_and_passed_over():
    reconciliation = reconcile([run(1)], files(1, 3), NUMBERS, allow_gaps=True)
    assert findings_of(reconciliation) == [("2", "gap", []), ("3", "backfill", [3])]
    assert not reconciliation.waiting


def test_a_gap_of_the_past_is_named_and_waits_for_nobody():
    reconciliation = reconcile([run(1), run(3)], files(1, 3), NUMBERS)
    assert findings_of(reconciliation) == [("2", "gap", [])]
    assert not reconciliation.waiting


def test_files_that_are_gone_stop_a_redo_before_it_begins():
    reconciliation = reconcile([run(1), run(2), run(3)], {**files(1, 3, 4), **files(1, fingerprint="b")}, NUMBERS)
    assert findings_of(reconciliation) == [("1", "changed", []), ("2", "gone", []), ("4", "backfill", [])]
    assert [finding.kind for finding in reconciliation.waiting] == ["gone"]
    assert reconciliation.steps == ()
    assert reconcile([run(1), run(2)], files(2), NUMBERS) == Reconciliation((), ()), (
        "files may be cleaned up once learned"
    )


def test_spans_before_the_first_run_are_left_alone():
    reconciliation = reconcile([run(5)], files(3, 4, 5), NUMBERS)
    assert findings_of(reconciliation) == [("3 to 4", "earlier", [])]
    assert "--from 3 --redo" in reconciliation.findings[0].sentence


def test_owed_spans_say_why_and_who_learns_them():
    skipped = dataclasses.replace(run(3), action="skip")
    ledger = [run(1), run(2), skipped, dataclasses.replace(run(4), revoked=True, pushed=4)]
    reconciliation = reconcile(ledger, files(1, 2, 3, 4, 5), NUMBERS, owed=(2, 3, 4))
    assert findings_of(reconciliation)[:3] == [("2", "owed", []), ("3", "owed", []), ("4", "owed", [])]
    assert [finding.sentence for finding in reconciliation.findings[:3]] == [
        f"The champion has not learned it, because {why}; 5 learns it on the way."
        for why in ("its candidate was refused", "it was skipped", "its model was taken back")
    ]


@given(
    done=st.sets(st.integers(1, 8)), broken=st.sets(st.integers(1, 8)), delivered=st.sets(st.integers(1, 10)),
    replaced=st.sets(st.integers(1, 8)), allow=st.booleans(),
)  # fmt: skip
def test_after_the_steps_only_a_person_is_left_with_something_to_do(done, broken, delivered, replaced, allow):
    last = max(done, default=0)
    ledger = [run(span) for span in sorted(done)]
    # A scheduler tries a day again before it goes on: a broken run is the last, or one of a redo.
    ledger += [run(span, "failed") for span in sorted(broken - done) if span <= last + 1]
    lying = {span: files(span, fingerprint="b" if span in replaced else "a")[span] for span in sorted(delivered)}
    order = {run.span: (run.span, run.span) for run in ledger}
    reconciliation = reconcile(ledger, lying, NUMBERS, order, allow_gaps=allow)
    spans = [step.span for step in reconciliation.steps]
    assert spans == sorted(set(spans))
    assert set(spans) <= set(lying)
    runs = {run.span: run for run in ledger}
    for clock, step in enumerate(reconciliation.steps, start=100):
        before = runs.get(step.span)
        assert step.revision == (1 if before is None else before.revision + (before.state == "done"))
        runs[step.span] = run(step.span, revision=step.revision, fingerprint=lying[step.span].fingerprint)
        order[step.span] = (clock, clock)
    again = reconcile([runs[span] for span in sorted(runs)], lying, NUMBERS, order, allow_gaps=allow)
    assert again.steps == ()
    assert [(finding.kind, finding.name) for finding in again.waiting] == [
        (finding.kind, finding.name) for finding in reconciliation.waiting
    ]


def test_the_table_shows_every_finding_and_shortens_long_redos():
    reconciliation = reconcile([run(span) for span in (1, 3, 4, 5, 6, 7)], files(*range(1, 8), 9), NUMBERS)
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(findings_table(reconciliation.findings, NUMBERS))
    shown = console.export_text()
    assert re.search(r"2 +late +It came after 3, 4, 5, 6, 7 had been run\. +2, 3 r2, … 7 r2 \(6 in all\)", shown)
    assert re.search(r"8 +gap +.* +needs you", shown)


def test_the_plan_is_printed_as_json_and_as_text_and_is_no_error(make_shop, monkeypatch):
    config = make_shop(4)
    shutil.rmtree(config.data.path / "2024-05-03")
    path = str(config.root.parent / "warmspan.yaml")
    monkeypatch.setattr(cli_nightly, "table_console", lambda: Console(width=120))
    done = CliRunner().invoke(app, ["plan", "--config", path, "--json"])
    assert done.exit_code == 0
    plan = json.loads(done.stdout)
    assert [(finding["span"], finding["kind"], finding["waits"]) for finding in plan["findings"]] == [
        ("2024-05-01", "backfill", False),
        ("2024-05-02", "backfill", False),
        ("2024-05-03", "gap", True),
        ("2024-05-04", "backfill", False),
    ]
    assert plan["steps"] == [{"span": f"2024-05-0{day}", "revision": 1} for day in (1, 2)]
    done = CliRunner().invoke(app, ["plan", "--config", path])
    assert done.exit_code == 0
    text = " ".join(done.stdout.split())
    assert "runs, in this order: 2024-05-01, 2024-05-02." in text
    assert "Needs you: 2024-05-03 (gap). No files have come." in text


def test_the_plan_takes_no_spans_from_elsewhere(make_shop):
    config = make_shop(1)
    path = str(config.root.parent / "warmspan.yaml")
    done = CliRunner().invoke(app, ["run", "--plan", "--from", "2024-05-01", "--config", path])
    assert done.exit_code == 1
    assert "`--plan` names the spans itself" in done.output


def comparable(config: Config) -> list[dict]:
    """The ledger without what says how it came about: revisions, seconds, and the files' times of change."""
    return [
        {
            **{name: _rounded(value) for name, value in vars(run).items()},
            "revision": 0,
            "seconds": sorted(run.seconds),
            "fingerprint": "",
            "pushed": run.pushed and run.pushed // 100,
            "base_version": run.base_version and run.base_version // 100,
        }
        for run in read_ledger(config)
    ]


def _rounded(value):
    """Metrics to six places: TFMA adds up in the order in which its bundles come."""
    return {name: round(number, 6) for name, number in value.items()} if isinstance(value, dict) else value


def copied(config: Config, folder: Path) -> Config:
    """The shop with its root, as one of its own in another folder."""
    shutil.copytree(config.root.parent, folder, symlinks=True)
    moved = load_config(folder / "warmspan.yaml", anywhere=True)
    planned = make_adoption(moved)
    assert planned is not None
    carry_out(moved, planned)
    return load_config(folder / "warmspan.yaml")


def _run(config: Config, **asked) -> list[Run]:
    run_steps(config, make_plan(read_ledger(config), read_deliveries(config), DAYS, **asked), Console(quiet=True))
    return read_ledger(config)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.filterwarnings("default")
def test_days_out_of_order_end_in_the_ledger_of_a_clean_history(make_shop, tmp_path):
    mixed = make_shop(4, folder="mixed", files="v{VERSION}/*.csv")
    _run(mixed, last=DAYS.parse("2024-05-01"))
    clean = copied(mixed, tmp_path / "clean")
    late = tmp_path / "late"
    shutil.move(mixed.data.path / "2024-05-03", late)
    _run(mixed, last=DAYS.parse("2024-05-02"))
    path = str(tmp_path / "mixed" / "warmspan.yaml")
    refused = CliRunner().invoke(app, ["run", "--plan", "--config", path])
    assert refused.exit_code == 1
    assert "Needs you: 2024-05-03 (gap)" in " ".join(refused.output.split())
    allowed = CliRunner().invoke(app, ["run", "--plan", "--allow-gaps", "--config", path])
    assert allowed.exit_code == 0, allowed.output
    assert [run.name for run in read_ledger(mixed)] == ["2024-05-01", "2024-05-02", "2024-05-04"]

    shutil.move(late, mixed.data.path / "2024-05-03")
    for config in (mixed, clean):
        day = config.data.path / "2024-05-02"
        lines = (day / "events.csv").read_text().splitlines(keepends=True)
        (day / "v1").mkdir()
        (day / "v1" / "events.csv").write_text("".join(lines[: 2 * len(lines) // 3]))
    _run(clean)

    done = CliRunner().invoke(app, ["plan", "--config", path, "--json"])
    findings = {finding["span"]: finding["kind"] for finding in json.loads(done.stdout)["findings"]}
    assert findings == {"2024-05-02": "changed", "2024-05-03": "late"}
    followed = CliRunner().invoke(app, ["run", "--plan", "--config", path])
    assert followed.exit_code == 0, followed.output
    assert [(run.name[-2:], run.revision) for run in read_ledger(mixed)] == [
        ("01", 1), ("02", 2), ("03", 1), ("04", 2),
    ]  # fmt: skip
    assert comparable(mixed) == comparable(clean)
    served, other = (
        check_bundle(config.serving_path / version).about
        for config, version in ((mixed, "2024050402"), (clean, "2024050401"))
    )
    assert served["learned"] == other["learned"]
    assert _rounded(dict(served["metrics"])) == _rounded(dict(other["metrics"]))
    nothing = CliRunner().invoke(app, ["run", "--plan", "--config", path])
    assert (nothing.exit_code, nothing.stdout.strip()) == (0, "Every span asked for is done. Nothing to do.")
