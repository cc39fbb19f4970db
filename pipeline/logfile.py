"""Where TFX, Beam and TensorFlow may be as loud as they like: a log file a run, instead of the terminal."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from absl import logging as absl_logging

from pipeline.config import Config
from pipeline.spans import Naming

_FORM = "%(asctime)s %(levelname)s %(name)s: %(message)s"


@contextlib.contextmanager
def logged_to(path: Path) -> Iterator[None]:
    """Sends everything that is logged, and Python's warnings, to `path`, and nothing of it to the terminal."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, encoding="utf-8")
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


def old_logs(config: Config, kept: Collection[str]) -> Iterator[tuple[Path, int]]:
    """Logs of runs, and training curves, of other spans than those named in `kept`, with their bytes."""
    naming = Naming(config.data.dated)
    run = re.compile(re.escape(config.name) + r"\.(.+)\.r\d\d\.log")
    for path in sorted((config.logs_path / "runs").glob("*.log")):
        if (match := run.fullmatch(path.name)) and match[1] not in kept:
            yield path, path.stat().st_size
    versions = {str(naming.version(naming.parse(name), 1))[:-2] for name in kept}
    for path in sorted((config.logs_path / "training").glob("*.tfevents.*")):
        version = path.name.rpartition(".")[2]
        if version.isdecimal() and version[:-2] not in versions:
            yield path, path.stat().st_size
