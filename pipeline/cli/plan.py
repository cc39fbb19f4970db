"""`warmspan plan`: what is not as it should be, and what would be run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.markup import escape
from rich.table import Table

from pipeline.cli.options import DEFAULT_CONFIG, ConfigPath, read_settings, say, stop, table_console

if TYPE_CHECKING:
    from pipeline.config import Config
    from pipeline.planning.reconciliation import Finding, Reconciliation
    from pipeline.planning.run_plan import PlanError, Step
    from pipeline.spans import Naming

app = typer.Typer()
_MOST_STEPS = 4


@app.command()
def plan(
    config: ConfigPath = DEFAULT_CONFIG,
    allow_gaps: Annotated[bool, typer.Option(help="Plan although days in between have no files.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For a machine.")] = False,
) -> None:
    """Show what is not as it should be, span by span, and what `warmspan run --plan` would run. Changes nothing."""
    settings = read_settings(config)
    from pipeline.ledger.serving_state import learning_lines, read_serving_state
    from pipeline.spans import Naming

    reconciliation, serving_state = read_reconciliation(settings, allow_gaps), read_serving_state(settings)
    naming = Naming(settings.data.dated)
    if as_json:
        learning = {"learning": serving_state.learning} if serving_state.learning else {}
        typer.echo(json.dumps(reconciliation.as_dict(naming) | learning, indent=1))
        return
    from pipeline.erasure.pending import pending_lines, read_pending

    for line in pending_lines(read_pending(settings), settings):
        say(line)
    if not reconciliation.findings:
        say("Every span is as it should be. Nothing to do.")
        for line in learning_lines(serving_state):
            say(line)
        return
    table_console().print(findings_table(reconciliation.findings, naming))
    say("")
    if reconciliation.steps:
        say(f"`warmspan run --plan` runs, in this order: {', '.join(step_names(reconciliation.steps, naming))}.")
    else:
        say("`warmspan run --plan` has nothing to run.")
    for line in learning_lines(serving_state):
        say(line)
    say_waiting(reconciliation.waiting)


def read_reconciliation(config: Config, allow_gaps: bool) -> Reconciliation:
    """Compares the ledger with the data folder; ends the command with a sentence if they can't be read."""
    from components.span_example_gen.errors import SpanError
    from pipeline.ledger.models import read_model_lineage
    from pipeline.ledger.runs import read_ledger, read_order
    from pipeline.planning.deliveries import read_deliveries
    from pipeline.planning.reconciliation import reconcile
    from pipeline.spans import Naming

    lineage = read_model_lineage(config)
    champion = lineage.champion()
    try:
        return reconcile(
            read_ledger(config),
            read_deliveries(config),
            Naming(config.data.dated),
            read_order(config),
            () if champion is None else lineage.owed(champion),
            allow_gaps,
        )
    except (SpanError, ValueError) as error:
        stop(error)


def say_waiting(waiting: Sequence[Finding]) -> PlanError:
    """Names what a person has to do first; returns the error that a run without a plan would have stopped with."""
    from pipeline.planning.run_plan import GapError, PlanError

    said = [f"Needs you: {finding.name} ({finding.kind}). {finding.sentence}" for finding in waiting]
    for line in said:
        say(line)
    missing = [span for finding in waiting for span in finding.missing]
    return GapError(missing, "\n".join(said)) if missing else PlanError("\n".join(said))


def findings_table(findings: Iterable[Finding], naming: Naming) -> Table:
    """One row a finding: which span, what is found, why, and what is run because of it."""
    table = Table(header_style="bold", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 2, 0, 0))
    for title in ("span", "finding", "why", "runs"):
        table.add_column(title, no_wrap=title == "finding", overflow="fold")
    for finding in findings:
        kind = f"[yellow]{finding.kind}[/yellow]" if finding.waits else finding.kind
        table.add_row(
            finding.name,
            kind,
            escape(finding.sentence),
            _steps(finding.run, naming) or ("needs you" * finding.waits or "-"),
        )
    return table


def step_names(steps: Iterable[Step], naming: Naming) -> list[str]:
    """Each step's span, with its revision where it replaces an earlier run."""
    return [naming.format(step.span) + f" r{step.revision}" * (step.revision > 1) for step in steps]


def _steps(steps: Sequence[Step], naming: Naming) -> str:
    named = step_names(steps, naming)
    if len(named) <= _MOST_STEPS:
        return ", ".join(named)
    return f"{named[0]}, {named[1]}, … {named[-1]} ({len(named)} in all)"
