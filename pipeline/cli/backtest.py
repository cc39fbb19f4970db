"""`warmspan backtest`: update policies on past spans."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pipeline.cli.options import (
    DEFAULT_CONFIG,
    ConfigPath,
    read_settings,
    stop,
    table_console,
)

app = typer.Typer()


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
    from pipeline.config.editing import write_settings
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
