"""What takes its time says how far it is: on a terminal in a line, in the log in a few."""

from __future__ import annotations

import io
import logging

import pytest
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from pipeline.orchestration.node_progress import EVERY, LONG, NodeProgress
from trainer.progress import heard_by, report


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_log_has_a_line_every_so_often_of_what_takes_long(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    within = NodeProgress(clock=clock)
    with caplog.at_level(logging.INFO), heard_by(within):
        within.begin("IncrementalTrainer")
        for step in range(40):
            report("steps", step, 4000)
            clock.now += 1.0
    report("nobody listens any more", 1, 1)
    first, *later = [record.getMessage() for record in caplog.records]
    assert first == f"IncrementalTrainer: steps {LONG:.0f} of 4,000"
    assert later == [f"IncrementalTrainer: steps {LONG + EVERY * line:.0f} of 4,000" for line in range(1, 4)]


def test_what_is_quick_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    within = NodeProgress(clock=clock)
    with caplog.at_level(logging.INFO), heard_by(within):
        for node in ("SpanExampleGen", "SpanTransform"):
            within.begin(node)
            report("shards", 1, 2)
            clock.now += LONG * 0.9
    assert not caplog.records


def test_a_terminal_shows_it_below_the_days_bar_until_the_next_node_begins() -> None:
    clock, screen = Clock(), io.StringIO()
    console = Console(file=screen, force_terminal=True, width=80)
    with Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), console=console) as bars:
        within = NodeProgress(bars, clock)
        within.begin("NextSpanEvaluator")
        clock.now += LONG
        within("events scored", 1024, 22000)
        (task,) = bars.tasks
        assert (task.visible, task.description, task.completed, task.total) == (True, "  events scored", 1024, 22000)
        within.begin("UpdateDecider")
        assert not task.visible
