"""Where TFX, Beam and TensorFlow may be as loud as they like: a log file a run, instead of the terminal."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

from absl import logging as absl_logging

from pipeline.config import Config
from pipeline.ledger.runs import run_id

_FORM = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class _LogFile(logging.FileHandler):
    """On a disk that is full a line is lost, and not told to the terminal with a stack trace: the command says it."""

    def handleError(self, record: logging.LogRecord) -> None:
        pass


class LogError(RuntimeError):
    """The log of a run can't be written; the message says where and why."""


def log_path(config: Config, name: str, revision: int) -> Path:
    """Where the log of a span's run lies; its nodes write one after the other."""
    return config.logs_path / "runs" / f"{run_id(config.name, name, revision)}.log"


@contextlib.contextmanager
def logged_to(path: Path) -> Iterator[None]:
    """Sends everything that is logged, and Python's warnings, to `path`, and nothing of it to the terminal.

    Raises:
      LogError: it can't be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = _LogFile(path, encoding="utf-8")
    except OSError as error:
        raise LogError(
            f"`root` must be a folder that this user may write. Received: {path} ({error.strerror}). Nothing was run."
        ) from None
    handler.setFormatter(logging.Formatter(_FORM))
    absl_logging.use_absl_handler()
    root, tensorflow = logging.getLogger(), logging.getLogger("tensorflow")
    before, level = list(root.handlers), root.level
    own, propagate = list(tensorflow.handlers), tensorflow.propagate
    root.handlers, tensorflow.handlers, tensorflow.propagate = [handler], [], True
    verbosity = absl_logging.get_verbosity()
    root.setLevel(logging.INFO)
    absl_logging.set_verbosity(absl_logging.INFO)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.handlers, tensorflow.handlers, tensorflow.propagate = before, own, propagate
        root.setLevel(level)
        absl_logging.set_verbosity(verbosity)
        handler.close()
