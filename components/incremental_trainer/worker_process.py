"""`python -m components.incremental_trainer.worker_process FOLDER`: one worker's part of a training, and its end.

Every worker learns the whole update, with its rows of each batch; what the chief has learned is the result.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import NoReturn

from components.incremental_trainer.learning import base_of, learn, state_of
from components.incremental_trainer.settings import Settings
from components.incremental_trainer.span_inputs import SpanInputs
from components.incremental_trainer.workers import Job
from components.update_decider.decision import Decision
from trainer.distribution import OutOfStepError
from trainer.keras2 import tf
from trainer.workers import multi_worker, this_worker

# What the other workers of a cluster see when it has lost one.
_LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.FailedPreconditionError,
    tf.errors.InternalError,
    tf.errors.UnknownError,
    tf.errors.AlreadyExistsError,
    tf.errors.NotFoundError,
)


def main(folder: Path) -> None:
    """Joins the cluster, learns the job in `folder`, and leaves what was learned there if this is the chief."""
    worker = this_worker()
    job = Job(folder)
    # First of all: TensorFlow takes no cluster once anything was computed.
    distribution = multi_worker(worker, job.progress)
    distribution.check_agreed(job.number, "job")
    inputs, properties = job.read()
    settings = Settings.from_json(properties["settings"])
    decision = Decision.read(inputs["decision"][0].uri)
    today = SpanInputs.of_today(inputs, settings)
    curves = settings.log_folder if worker.is_chief else None
    start = state_of(base_of(inputs, decision))
    learned = learn(inputs, settings, properties["version"], decision, today, start, distribution, curves)
    if worker.is_chief:
        job.save(learned)
    # A worker that leaves while the chief is at work is to TensorFlow one that was lost.
    distribution.agreed(0.0)


def _end_with(parent: int) -> None:
    """Ends when the process that began it is gone: nobody would wait for it, and its port is the next one's."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


def _end(status: int) -> NoReturn:
    # A cluster that lost a worker is not left by the front door: its shutdown would wait for who is gone.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    threading.Thread(target=_end_with, args=[os.getppid()], daemon=True).start()
    try:
        main(Path(sys.argv[1]))
    except (*_LOST, OutOfStepError):
        traceback.print_exc()
        _end(1)
    except Exception as error:  # whatever it is, another attempt would meet it again
        traceback.print_exc()
        Job(Path(sys.argv[1])).refuse(error)
        _end(1)
