"""What follows a run: alerts, TensorBoard, the report. The runners call these hooks and know none of them by name."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable

from pipeline.config import Config
from pipeline.ledger.runs import Run
from pipeline.monitoring.alerts import Alert, send_alerts, send_alerts_of
from pipeline.planning.run_plan import GapError, PlanError
from pipeline.spans import Naming

_log = logging.getLogger("warmspan.report")


class Callback:
    """What is called when something happens to a run; each hook does nothing where it is not overridden."""

    def on_plan_error(self, error: Exception) -> None:
        """Nothing can be run, and `error` says why."""

    def on_run_begin(self) -> None:
        """The first node of a run is about to start."""

    def on_result(self, run: Run) -> None:
        """The ledger has something new of `run` to look at: its decision, or its verdict."""

    def on_run_end(self, run: Run) -> None:
        """The last node of `run` is done or passed over."""

    def on_run_error(self, name: str, revision: int, error: Exception) -> None:
        """A run of the span called `name` stopped."""

    def on_exit(self) -> None:
        """Nothing more is run by the command."""


class CallbackList(Callback):
    """Calls each of several callbacks in order."""

    def __init__(self, callbacks: Iterable[Callback]) -> None:
        self._callbacks = tuple(callbacks)

    def on_plan_error(self, error: Exception) -> None:
        for callback in self._callbacks:
            callback.on_plan_error(error)

    def on_run_begin(self) -> None:
        for callback in self._callbacks:
            callback.on_run_begin()

    def on_result(self, run: Run) -> None:
        for callback in self._callbacks:
            callback.on_result(run)

    def on_run_end(self, run: Run) -> None:
        for callback in self._callbacks:
            callback.on_run_end(run)

    def on_run_error(self, name: str, revision: int, error: Exception) -> None:
        for callback in self._callbacks:
            callback.on_run_error(name, revision, error)

    def on_exit(self) -> None:
        for callback in self._callbacks:
            callback.on_exit()


class AlertCallback(Callback):
    """Tells a person what the night brought; see `pipeline/monitoring/alerts.py`."""

    def __init__(self, config: Config) -> None:
        self._config = config

    def on_plan_error(self, error: Exception) -> None:
        send_alerts(self._config, not_planned(error, Naming(self._config.data.dated)))

    def on_run_begin(self) -> None:
        send_alerts(self._config)  # what an earlier run could not send

    def on_result(self, run: Run) -> None:
        send_alerts_of(self._config, run)

    def on_run_error(self, name: str, revision: int, error: Exception) -> None:
        send_alerts(self._config, failure(name, revision, error))


class TensorBoardCallback(Callback):
    """Writes a run's figures as TensorBoard events."""

    def __init__(self, config: Config) -> None:
        self._config = config

    def on_run_end(self, run: Run) -> None:
        # Not at the top: most nodes of a scheduler write none, and each is a process of its own.
        from pipeline.monitoring.tensorboard.span_writer import write_span

        write_span(self._config, run)


class ReportCallback(Callback):
    """Writes the report, once, when nothing more is run. One that can't be written must not fail a night.

    Args:
      config: settings.
      say: takes the sentence that says why it could not be written.
    """

    def __init__(self, config: Config, say: Callable[[str], None]) -> None:
        self._config, self._say = config, say

    def on_exit(self) -> None:
        # Not at the top: what draws the report is of no use to a command that runs nothing.
        from pipeline.monitoring.report import NIGHTLY, write_report

        try:
            write_report(self._config, self._config.root / NIGHTLY)
        except Exception as error:  # whatever it is, the span is done
            _log.warning("The report was not written", exc_info=True)
            what = f"The report was not written ({type(error).__name__}: {error})."
            self._say(f"{what} The span is done all the same.")


def default_callbacks(config: Config, say: Callable[[str], None] = lambda problem: None) -> CallbackList:
    """What follows every run; `say` takes what could not be done, which is logged all the same."""
    return CallbackList([TensorBoardCallback(config), AlertCallback(config), ReportCallback(config, say)])


def failure(name: str, revision: int, error: Exception) -> list[Alert]:
    """A node's failure: the same however often it is tried. What is no node's, like a lock that is held, is none."""
    # Not at the top: a gap is told without waiting for TFX to be imported.
    from pipeline.orchestration.span_run import NodeError

    if not isinstance(error, NodeError):
        return []
    return [Alert("failure", name, f"r{revision:02d}.{error.node}", str(error))]


def not_planned(error: Exception, naming: Naming) -> list[Alert]:
    """Why a plan could not be made: a gap, the same until its first day is there, or what else stops a run."""
    if isinstance(error, GapError):
        return [Alert("gap", naming.format(error.missing[0]), "", str(error))]
    if isinstance(error, PlanError):
        return [Alert("failure", "", hashlib.sha256(str(error).encode()).hexdigest()[:16], str(error))]
    return []
