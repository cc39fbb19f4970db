"""`warmspan run`, `status`, `run-node` and `nodes`: the daily loop and its ledger."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.console import Console

from pipeline.cli.options import (
    DEFAULT_CONFIG,
    ConfigPath,
    Decide,
    override_of,
    read_settings,
    say,
    stop,
    table_console,
)
from pipeline.cli.plan import read_reconciliation, say_waiting

app = typer.Typer()


@app.command()
def run(
    config: ConfigPath = DEFAULT_CONFIG,
    span: Annotated[str | None, typer.Option(help="One span, like 2024-05-03.")] = None,
    first: Annotated[str | None, typer.Option("--from", help="The first of several spans.")] = None,
    last: Annotated[str | None, typer.Option("--to", help="The last of several spans.")] = None,
    allow_gaps: Annotated[bool, typer.Option(help="Run although days in between have no files.")] = False,
    redo: Annotated[bool, typer.Option(help="Run spans again that are done, up to the last.")] = False,
    planned: Annotated[bool, typer.Option("--plan", help="Run what `warmspan plan` shows.")] = False,
    decide: Decide = None,
) -> None:
    """Run every span that is not done yet, or those named, each day in order."""
    settings = read_settings(config)
    from components.object_store.store import ObjectStoreError
    from pipeline.ledger.runs import read_ledger
    from pipeline.planning.run_plan import make_plan
    from pipeline.spans import Naming

    naming = Naming(settings.data.dated)
    reconciliation = None
    try:
        if span is not None and (first is not None or last is not None):
            raise ValueError("`--span` must stand alone. Received: with `--from` or `--to`. Leave one of them out.")
        if planned and (redo or span is not None or first is not None or last is not None):
            raise ValueError("`--plan` names the spans itself. Received: with others, or `--redo`. Leave them out.")
        begin, end = (None if name is None else naming.parse(name) for name in (span or first, span or last))
        from pipeline.planning.deliveries import read_deliveries

        if planned:
            reconciliation = read_reconciliation(settings, allow_gaps)
            steps = list(reconciliation.steps)
        else:
            steps = make_plan(read_ledger(settings), read_deliveries(settings), naming, begin, end, allow_gaps, redo)
        if decide is not None and len(steps) != 1:
            raise ValueError(
                f"`--decide` must be for one span that is not done. Received: {len(steps)} to run. Name one with "
                "`--span`, and add `--redo` if it is the last one and done."
            )
    except (ValueError, ObjectStoreError) as error:
        from pipeline.orchestration.callbacks import default_callbacks

        default_callbacks(settings).on_plan_error(error)
        stop(error)
    console = table_console()
    # A day that is held was told of when it came, and keeps no other from running.
    waiting = [finding for finding in reconciliation.waiting if finding.kind != "held"] if reconciliation else []
    if not steps and not waiting:
        from pipeline.ledger.serving_state import owed_now
        from pipeline.monitoring.status import held_lines
        from pipeline.operations.publication import publish

        publish(settings)  # which may be what the last run could not do
        held = held_lines(read_ledger(settings))
        console.print(f"Every span asked for is done{' or held' if held else ''}. Nothing to do.")
        for line in held:
            say(line)
        for line in owed_now(settings):
            say(line)
        return
    from pipeline.orchestration.daily_run import run_steps
    from pipeline.orchestration.run_log import LogError
    from pipeline.orchestration.span_run import RunError

    try:
        run_steps(settings, steps, console, override_of(decide))
    except (RunError, LogError) as error:
        stop(error)
    if waiting:
        from pipeline.orchestration.callbacks import default_callbacks

        default_callbacks(settings).on_plan_error(say_waiting(waiting))
        sys.exit(1)


@app.command()
def status(config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Show the ledger: every span, what was decided, how good the model is, what is served."""
    settings = read_settings(config)
    from pipeline.ledger.runs import read_runs
    from pipeline.monitoring.status import held_lines, learning_lines, shelf_lines, shown, status_lines, status_table

    runs = read_runs(settings)
    if not runs:
        Console().print("No span has been run. Start with `warmspan run`.")
        return
    table_console().print(status_table(shown(runs)))
    of_runs = [line for lines in (held_lines, learning_lines, shelf_lines) for line in lines(shown(runs))]
    for line in ("", *of_runs, *status_lines(settings)):
        say(line)


@app.command("run-node")
def run_node(
    nodes: Annotated[list[str], typer.Argument(help="Nodes that `warmspan nodes` prints, in their order.")],
    span: Annotated[str, typer.Option(help="The span, like 2024-05-03.")],
    config: ConfigPath = DEFAULT_CONFIG,
    allow_gaps: Annotated[bool, typer.Option(help="Begin although days in between have no files.")] = False,
    skip_done: Annotated[bool, typer.Option("--skip-done", help="Return 99 if the whole day was done before.")] = False,
    skip_refused: Annotated[
        bool, typer.Option("--skip-refused", help="Return 99, not 1, if the span can't begin now.")
    ] = False,
    decide: Decide = None,
) -> None:
    """Run one node of a span, or several, for a scheduler; not what is done. Returns 99 if the last is passed over."""
    from pipeline.node_order import PASSED_OVER

    settings = read_settings(config)
    from pipeline.orchestration import node_run
    from pipeline.orchestration.run_log import LogError
    from pipeline.orchestration.span_run import RunError
    from pipeline.planning.run_plan import PlanError
    from pipeline.spans import SpanNameError

    outcome = ""
    try:
        for result in node_run.run_nodes(settings, nodes, span, allow_gaps, override_of(decide), skip_done):
            outcome = result.outcome
            seconds = f" in {result.seconds:.1f} s" if outcome == "ran" else ""
            why = f". {result.why}" if result.why else ""
            say(f"{result.name} {result.node}: {outcome}{seconds}{why}")
    except (SpanNameError, PlanError) as error:
        stop(error, PASSED_OVER if skip_refused else 1)
    except (RunError, LogError, ValueError) as error:
        stop(error)
    if outcome == "passed over":
        sys.exit(PASSED_OVER)


@app.command()
def nodes() -> None:
    """Print the nodes of a day, in the order in which they run."""
    from pipeline.node_order import NODES

    for node in NODES:
        typer.echo(node)
