"""Runs planned spans one after the other and says what came of each."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from components.update_decider.decision import Override
from pipeline.config import Config
from pipeline.ledger.runs import Run, read_ledger, read_run
from pipeline.metrics import watched
from pipeline.orchestration.callbacks import default_callbacks
from pipeline.orchestration.node_progress import NodeProgress
from pipeline.orchestration.run_log import log_path, logged_to
from pipeline.orchestration.span_run import RunError, SpanRun
from pipeline.planning.run_plan import Step
from pipeline.spans import Naming
from trainer.progress import heard_by


def run_steps(config: Config, steps: Sequence[Step], console: Console, override: Override | None = None) -> None:
    """Runs `steps` in order and stops at the first failure; `override` goes before the policy's decisions.

    Raises:
      RunError: a node failed. The champion is still in service, and the same command goes on where it stopped.
    """
    callbacks = default_callbacks(config, lambda problem: _warn(console, problem))
    for step in steps:
        name = Naming(config.data.dated).format(step.span)
        log = log_path(config, name, step.revision)
        with logged_to(log):
            callbacks.on_run_begin()
            try:
                _run(SpanRun(config, step.span, step.revision, override), console)
            except RunError as error:
                logging.exception("the run stopped")
                if met := read_run(config, step.span, step.revision):
                    callbacks.on_result(met)
                callbacks.on_run_error(name, step.revision, error)
                callbacks.on_exit()
                raise RunError(
                    f"{error}\nThe champion is still in service. Details: {log}. Run the same command again to go on."
                ) from error
            done = {run.span: run for run in read_ledger(config)}[step.span]
            callbacks.on_result(done)
            callbacks.on_run_end(done)
        console.print(summary(done, Naming(config.data.dated)))
    if steps:
        callbacks.on_exit()


def _warn(console: Console, problem: str) -> None:
    console.print(problem, style="yellow", highlight=False, markup=False)


def _run(run: SpanRun, console: Console) -> None:
    name = TextColumn("{task.fields[span]} {task.description}")
    columns = (name, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("starting", total=len(run.graph.nodes), span=run.name)
        started = 0

        within = NodeProgress(progress)

        def on_node(node: str) -> None:
            nonlocal started
            progress.update(task, completed=started, description=node)
            within.begin(node)
            started += 1

        with heard_by(within):
            run.run(on_node)


def summary(run: Run, naming: Naming) -> str:
    """A day in a few lines."""
    seconds = sum(run.seconds.values())
    if run.state == "held":
        held = escape(f"held: {run.doubts}")
        let_in = f"to let it in: `warmspan release {run.name}`"
        return f"[bold]{run.name}[/bold]  {run.balance}  ({seconds:.1f} s)\n  [yellow]{held}[/yellow]\n  {let_in}"
    counts = f"{run.balance}, {run.new_items:,} new items, {run.new_keys:,} new keys"
    if run.retired_items or run.retired_keys:
        counts += f"; {run.retired_items:,} items and {run.retired_keys:,} keys lost their rows"
    lines = [f"[bold]{run.name}[/bold]  {counts}  ({seconds:.1f} s)"]
    if run.catalogue is not None:
        lines.append(f"  catalogue: {run.catalogue}")
    lines += [f"  text {escape(str(of))}" for of in (*run.tunings, *run.encodings)]
    if run.doubts:
        lines.append(f"  let in although {escape(run.doubts)}")
    if run.next_span:
        numbers = ", ".join(f"{name} {value:.4f}" for name, value in sorted(run.next_span.items()))
        lines.append(f"  champion on the new span: {numbers}")
    if shelf := run.surroundings.shelf_sentence:
        lines.append(f"  {shelf}")
    start = f" from {run.base_version}" if run.base_version else ""
    lines.append(f"  {run.action.replace('_', '-')}{start}: {run.reason}")
    if run.learning:
        lines.append(f"  {run.learning}")
    if len(run.trained_on) > 1:
        lines.append(f"  trained on {', '.join(map(naming.format, run.trained_on))}")
    if run.teacher is not None:
        lines.append(f"  {escape(run.teacher.beside(run.candidate, watched(run.teacher.metrics)))}")
    if run.verdict:
        lines.append(f"  {run.verdict}")
    if run.pushed:
        lines.append(f"  pushed as {run.pushed}")
    return "\n".join(lines)
