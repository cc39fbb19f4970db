"""`warmspan …`: the command line.

Nothing heavy is imported before a command needs it, so that `--help` answers at once.
"""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pipeline.cli_housekeeping import app as housekeeping_commands
from pipeline.cli_nightly import app as nightly_commands
from pipeline.cli_nightly import read_outlook, say_waiting
from pipeline.cli_report import app as report_commands
from pipeline.cli_serving import app as serving_commands
from pipeline.cli_shared import (
    DEFAULT_CONFIG,
    ConfigPath,
    Decide,
    overrule_of,
    read_settings,
    say,
    stop,
    table_console,
)
from pipeline.cli_tensorboard import app as tensorboard_commands

app = typer.Typer(
    help="Keeps a Keras recommender fresh: each day warm-starts yesterday's model, and only what holds up is pushed.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(nightly_commands)
app.add_typer(report_commands)
app.add_typer(serving_commands)
app.add_typer(housekeeping_commands)
app.add_typer(tensorboard_commands)


@app.command()
def init(
    data: Annotated[Path, typer.Argument(help="The folder that holds the spans.")],
    out: Annotated[Path, typer.Option(help="The settings file to write.")] = DEFAULT_CONFIG,
    key: Annotated[str | None, typer.Option(help="Column of the user or session.")] = None,
    item: Annotated[str | None, typer.Option(help="Column of the item.")] = None,
    timestamp: Annotated[str | None, typer.Option(help="Column of the time.")] = None,
    weight: Annotated[str | None, typer.Option(help="Column of the weight or rating.")] = None,
    timestamp_format: Annotated[str | None, typer.Option(help="The form of the time, as for strptime.")] = None,
    force: Annotated[bool, typer.Option(help="Write over a settings file that is there.")] = False,
) -> None:
    """Write a commented settings file by looking at the first span."""
    from pipeline.init import InitError, write_config

    try:
        guesses = write_config(
            data,
            out,
            key=key,
            item=item,
            timestamp=timestamp,
            weight=weight,
            timestamp_format=timestamp_format,
            overwrite=force,
        )
    except InitError as error:
        stop(error)
    for guess in guesses:
        Console().print(f"{guess.setting}: {guess.value!r}, {guess.why}", highlight=False, markup=False)
    Console().print(f"Wrote {out}. Read it through, then start with `warmspan run --config {out}`.", highlight=False)


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
    from pipeline.ledger import read_ledger
    from pipeline.plan import make_plan
    from pipeline.spans import Naming

    naming = Naming(settings.data.dated)
    outlook = None
    try:
        if span is not None and (first is not None or last is not None):
            raise ValueError("`--span` must stand alone. Received: with `--from` or `--to`. Leave one of them out.")
        if planned and (redo or span is not None or first is not None or last is not None):
            raise ValueError("`--plan` names the spans itself. Received: with others, or `--redo`. Leave them out.")
        begin, end = (None if name is None else naming.parse(name) for name in (span or first, span or last))
        from pipeline.deliveries import read_deliveries

        if planned:
            outlook = read_outlook(settings, allow_gaps)
            steps = list(outlook.steps)
        else:
            steps = make_plan(read_ledger(settings), read_deliveries(settings), naming, begin, end, allow_gaps, redo)
        if decide is not None and len(steps) != 1:
            raise ValueError(
                f"`--decide` must be for one span that is not done. Received: {len(steps)} to run. Name one with "
                "`--span`, and add `--redo` if it is the last one and done."
            )
    except ValueError as error:
        from pipeline.alerts import not_planned, tell

        tell(settings, not_planned(error, naming))
        stop(error)
    console = table_console()
    waiting = outlook.waiting if outlook else ()
    if not steps and not waiting:
        from pipeline.standing import owed_now

        console.print("Every span asked for is done. Nothing to do.")
        for line in owed_now(settings):
            say(line)
        return
    from pipeline.daily import run_steps
    from pipeline.runner import RunError

    try:
        run_steps(settings, steps, console, overrule_of(decide))
    except RunError as error:
        stop(error)
    if waiting:
        from pipeline.alerts import not_planned, tell

        tell(settings, not_planned(say_waiting(waiting), naming))
        sys.exit(1)


@app.command()
def status(config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Show the ledger: every span, what was decided, how good the model is, what is served."""
    settings = read_settings(config)
    from pipeline.ledger import read_runs
    from pipeline.status import shown, status_lines, status_table

    runs = read_runs(settings)
    if not runs:
        Console().print("No span has been run. Start with `warmspan run`.")
        return
    table_console().print(status_table(shown(runs)))
    for line in ("", *status_lines(settings)):
        say(line)


@app.command("run-node")
def run_node(
    nodes: Annotated[list[str], typer.Argument(help="Nodes that `warmspan nodes` prints, in their order.")],
    span: Annotated[str, typer.Option(help="The span, like 2024-05-03.")],
    config: ConfigPath = DEFAULT_CONFIG,
    allow_gaps: Annotated[bool, typer.Option(help="Begin although days in between have no files.")] = False,
    decide: Decide = None,
) -> None:
    """Run one node of a span, or several, for a scheduler; not what is done. Returns 99 if the last is passed over."""
    from pipeline.node_order import PASSED_OVER

    settings = read_settings(config)
    from pipeline import node_run
    from pipeline.plan import PlanError
    from pipeline.runner import RunError
    from pipeline.spans import SpanNameError

    outcome = ""
    try:
        for result in node_run.run_nodes(settings, nodes, span, allow_gaps, overrule_of(decide)):
            outcome = result.outcome
            seconds = f" in {result.seconds:.1f} s" if outcome == "ran" else ""
            why = f". {result.why}" if result.why else ""
            say(f"{result.name} {result.node}: {outcome}{seconds}{why}")
    except (SpanNameError, PlanError, RunError, ValueError) as error:
        stop(error)
    if outcome == "passed over":
        sys.exit(PASSED_OVER)


@app.command()
def nodes() -> None:
    """Print the nodes of a day, in the order in which they run."""
    from pipeline.node_order import NODES

    for node in NODES:
        typer.echo(node)


@app.command()
def serve(
    config: ConfigPath = DEFAULT_CONFIG,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port; 0 for any that is free.")] = 8501,
    model_config_file: Annotated[
        Path | None,
        typer.Option("--model_config_file", "--model-config-file", help="Serve this models.config, not --config."),
    ] = None,
    enable_batching: Annotated[
        bool, typer.Option("--enable_batching", "--enable-batching", help="Compute concurrent requests together.")
    ] = False,
    batching_parameters_file: Annotated[
        Path | None,
        typer.Option("--batching_parameters_file", "--batching-parameters-file", help="For --enable_batching."),
    ] = None,
    monitoring_config_file: Annotated[
        Path | None,
        typer.Option("--monitoring_config_file", "--monitoring-config-file", help="Metrics are on without it."),
    ] = None,
    cors: Annotated[
        bool, typer.Option("--rest_api_enable_cors_support", help="Let the pages of any web site ask.")
    ] = False,
) -> None:
    """Serve the newest version over TF Serving's REST contract, and take up new ones."""
    settings = None if model_config_file else read_settings(config)
    if settings is not None and settings.models_config_path.exists():
        model_config_file = settings.models_config_path  # labels were given
    from serving.rest_server import RestServer
    from serving.server_options import batching_option, monitoring_option
    from serving.text_config import ServerConfigError

    try:
        RestServer(
            model_config_file or {settings.name: settings.serving_path},  # type: ignore[union-attr]
            *(host, port),
            cors=cors,
            metrics_path=monitoring_option(monitoring_config_file),
            batching=batching_option(enable_batching, batching_parameters_file),
        ).serve_forever()
    except ServerConfigError as error:
        stop(error)
    except OSError as error:
        stop(OSError(f"`--host` and `--port` must be free to listen on. Received: {host}:{port} ({error.strerror})."))


@app.command("deploy-config")
def deploy_config(
    config: ConfigPath = DEFAULT_CONFIG,
    out: Annotated[Path, typer.Option(help="The folder to write to.")] = Path("deploy"),
    force: Annotated[bool, typer.Option(help="Write over files that are there.")] = False,
) -> None:
    """Write what the official TensorFlow Serving needs: compose, Kubernetes, Prometheus and Grafana files."""
    settings = read_settings(config)
    from pipeline.deploy_config import write_deployment
    from serving.deploy_config import DeployError

    try:
        paths = write_deployment(settings, out, force=force)
    except DeployError as error:
        stop(error)
    for path in paths:
        Console().print(str(path), highlight=False, markup=False, soft_wrap=True)


@app.command()
def recommend(
    user: Annotated[str, typer.Argument(help="The user's id; '' for somebody unknown.")],
    config: ConfigPath = DEFAULT_CONFIG,
    history: Annotated[str, typer.Option(help="Items of the user, oldest first, with commas between.")] = "",
    k: Annotated[int, typer.Option(help="How many items.")] = 10,
    url: Annotated[str, typer.Option(help="Where the model is served.")] = "http://127.0.0.1:8501",
) -> None:
    """Ask the served model for a user's items."""
    settings = read_settings(config)
    from rich.table import Table

    from serving.client import Client, ClientError

    try:
        found = Client(url, settings.name).recommend(user, [one for one in history.split(",") if one], k=k)
    except ClientError as error:
        stop(error)
    table = Table("item", "score", "title", show_edge=False)
    for one in found:
        table.add_row(one.item, f"{one.score:.3f}", one.title or "")
    Console().print(table)


@app.command()
def backtest(
    config: ConfigPath = DEFAULT_CONFIG,
    first: Annotated[str | None, typer.Option("--from", help="The first span; learned, not tested.")] = None,
    last: Annotated[str | None, typer.Option("--to", help="The last span.")] = None,
    policy: Annotated[list[str] | None, typer.Option(help="A policy by name; give it again for several.")] = None,
    policies: Annotated[Path | None, typer.Option(help="A YAML file of policies of your own.")] = None,
    seeds: Annotated[int, typer.Option(help="How many seeds each policy runs with.")] = 1,
    out: Annotated[Path | None, typer.Option(help="Where it is kept; <root>/backtest if not given.")] = None,
    retention_spans: Annotated[
        int | None, typer.Option(min=1, help="How many older spans are tested again, at most; 16 if not given.")
    ] = None,
    no_retention: Annotated[bool, typer.Option("--no-retention", help="Test no older spans again.")] = False,
    write_config: Annotated[
        bool, typer.Option("--write-config", help="Put the winner's settings into the settings file.")
    ] = False,
) -> None:
    """Compare update policies on past spans: each is tested on a span before it learns it. Goes on where it stopped.

    Built in: fine-tune, fine-tune+replay, retrain, never (all four if none is named), and settings, the file's own.
    """
    settings = read_settings(config)
    from components.span_example_gen.errors import SpanError
    from pipeline.backtest import DEFAULT_SPANS, BacktestError, find_policies, settings_of
    from pipeline.backtest import backtest as compare
    from pipeline.config import ConfigError
    from pipeline.settings_file import write_settings
    from pipeline.spans import Naming, SpanNameError
    from trainer.models import ModelError
    from trainer.update import TrainingError

    naming = Naming(settings.data.dated)
    try:
        begin, end = (None if name is None else naming.parse(name) for name in (first, last))
        chosen = find_policies(policy or [], settings, policies)
        older = 0 if no_retention else DEFAULT_SPANS if retention_spans is None else retention_spans
        winner = compare(settings, chosen, table_console(), begin, end, seeds, out, older).winner
        if write_config:
            changed = write_settings(config, settings, settings_of(winner, chosen))
            said = f"changed {', '.join(changed)}" if changed else "it already says what the winner does"
            Console().print(f"{config}: {said}.", highlight=False, markup=False, soft_wrap=True)
    except (BacktestError, ConfigError, ModelError, SpanError, SpanNameError, TrainingError) as error:
        stop(error)


@app.command()
def demo(
    folder: Annotated[Path, typer.Option(help="Where the demo may write.")] = Path("demo"),
    days: Annotated[int, typer.Option(help="How many days to run.")] = 5,
) -> None:
    """Run the daily loop on a simulated shop, serve the result and ask it."""
    from pipeline.demo import run_demo
    from pipeline.runner import RunError

    try:
        run_demo(folder, days, table_console())
    except RunError as error:
        stop(error)


def main() -> None:
    """The console script."""
    # TFX's dependencies warn of each other's futures at import; a run's own warnings and logs go to its log file.
    warnings.simplefilter("ignore")
    logging.getLogger("absl").setLevel(logging.ERROR)
    try:
        app()
    except ValueError as error:
        from pipeline.config import ConfigError

        if not isinstance(error, ConfigError):
            raise
        stop(error)  # a store that does not answer, in whatever command
