"""`warmspan stream`: mini-batch updates of a served copy between two nightly runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.options import DEFAULT_CONFIG, ConfigPath, read_settings, say, stop

if TYPE_CHECKING:
    from pipeline.stream.journal import Entry

app = typer.Typer()


@app.command()
def stream(
    config: ConfigPath = DEFAULT_CONFIG,
    once: Annotated[bool, typer.Option("--once", help="Learn what has landed, and end.")] = False,
    discard: Annotated[bool, typer.Option("--discard", help="Take back all that was streamed, and end.")] = False,
) -> None:
    """Learn new event files within the day into a copy of the champion, and serve it while it is not worse."""
    settings = read_settings(config)
    if discard:
        from pipeline.stream.running import discarded

        say(discarded(settings))
        return
    from pipeline.stream.running import StreamError, run_stream

    try:
        run_stream(settings, say_entry, once)
    except StreamError as error:
        stop(error)


def say_entry(entry: Entry) -> None:
    """A line a mini-batch."""
    files = len(entry.parts)
    served = f" as {entry.version}" if entry.version else ""
    against = f"; {entry.against_before}" if entry.against_before else ""
    seconds = sum(entry.seconds.values())
    say(
        f"batch {entry.number}: {files} file{'s' * (files != 1)}, {entry.learned:,} learned, {entry.judging:,} judge, "
        f"{entry.outcome}{served} in {seconds:.1f} s{against}"
    )
