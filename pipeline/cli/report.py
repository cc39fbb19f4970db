"""`warmspan report` and `warmspan explain`: what happened, and why an item is shown."""

from __future__ import annotations

import json
import webbrowser
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pipeline.cli.options import DEFAULT_CONFIG, ConfigPath, read_settings, say, stop

app = typer.Typer()


@app.command()
def report(
    config: ConfigPath = DEFAULT_CONFIG,
    out: Annotated[Path, typer.Option(help="The HTML page to write.")] = Path("report.html"),
    days: Annotated[int, typer.Option(min=1, help="How many of the last spans to show.")] = 30,
    show: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False,
) -> None:
    """Write what happened as one HTML page that needs no network."""
    settings = read_settings(config)
    from pipeline.monitoring.report import ReportError, write_report

    try:
        write_report(settings, out, days)
    except ReportError as error:
        stop(error)
    say(f"Wrote {out}.")
    if show and not webbrowser.open(out.resolve().as_uri()):
        say("There is no browser to open it in. Copy the file to a machine that has one: it needs nothing else.")


@app.command()
def explain(
    user: Annotated[str, typer.Option(help="The user's or session's id.")],
    item: Annotated[str, typer.Option(help="The item's id.")],
    config: ConfigPath = DEFAULT_CONFIG,
    version: Annotated[int | None, typer.Option(help="A version that is served; the newest if not given.")] = None,
    k: Annotated[int, typer.Option(min=0, help="How many nearest items to name.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="For a machine, all events in it.")] = False,
) -> None:
    """Say why a user is shown an item: the events that carried its score, its neighbours, what it was learned from."""
    settings = read_settings(config)
    from pipeline.explain.explainer import ExplainError
    from pipeline.explain.explainer import explain as explained
    from pipeline.explain.rendering import as_dict, as_lines
    from pipeline.spans import Naming

    naming = Naming(settings.data.dated)
    try:
        explanation = explained(settings, user, item, version, count=k)
    except ExplainError as error:
        stop(error)
    if as_json:
        typer.echo(json.dumps(as_dict(explanation, naming), indent=1))
        return
    for line in as_lines(explanation, naming):
        Console().print(line, highlight=False, markup=False, soft_wrap=isinstance(line, str))
