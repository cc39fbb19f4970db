"""What the command line's modules share. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import enum
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn, cast

import typer
from rich.console import Console

if TYPE_CHECKING:
    from components.update_decider.decision import Override
    from pipeline.config import Config


class Action(str, enum.Enum):
    """What the user wants to be done with a span."""

    SKIP = "skip"
    FINE_TUNE = "fine-tune"
    RETRAIN = "retrain"


ConfigPath = Annotated[Path, typer.Option("--config", "-c", help="The settings file.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Decide = Annotated[Action | None, typer.Option(help="Do this instead of what the policy decides.")]
DEFAULT_CONFIG = Path("warmspan.yaml")
_TABLE_WIDTH = 120


def table_console() -> Console:
    """Wide enough for the ledger's table; narrower, it would lose its numbers."""
    console = Console()
    return console if console.width >= _TABLE_WIDTH else Console(width=_TABLE_WIDTH)


def read_settings(path: Path, anywhere: bool = False) -> Config:
    """The settings; without any that can be used the command ends with a sentence."""
    from pipeline.config import ConfigError, load_config

    try:
        return load_config(path, anywhere)
    except ConfigError as error:
        stop(error)


def stop(error: Exception, status: int = 1) -> NoReturn:
    """Ends the command with the error's sentence."""
    Console(stderr=True).print(str(error), style="red", highlight=False, markup=False, soft_wrap=True)
    sys.exit(status)


def say(line: str) -> None:
    """One line as it is, however narrow the terminal."""
    Console().print(line, highlight=False, markup=False, soft_wrap=True)


def agreed(question: str, dry_run: bool, yes: bool) -> bool:
    """Whether what was shown is to be done: not in a dry run. A person who says no ends the command with status 1."""
    if dry_run:
        say("Nothing was changed. Without --dry-run it is done.")
        return False
    if not yes and not typer.confirm(question):
        say("Nothing was changed.")
        sys.exit(1)
    return True


def override_of(decide: Action | None) -> Override | None:
    """What `--decide` asks for, as the decision has it."""
    return None if decide is None else cast("Override", decide.value.replace("-", "_"))
