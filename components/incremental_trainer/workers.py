"""A training on several workers: the Trainer's node is the chief, `warmspan train-worker` is each of the others.

What is to be trained is a job in a folder that all of them see. Each worker learns it in a process of its own, which
ends with the training: a process of TensorFlow can be of one cluster alone, and does not outlive a peer that is gone.
If a worker is killed all of these processes end, and begin again with the last epoch that the chief kept.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tfx.utils import json_utils

from components.incremental_trainer.learning import Inputs, Learned
from components.incremental_trainer.settings import Settings
from trainer.atomic_write import atomic_folder, atomic_write
from trainer.early_stopping import TrainingError
from trainer.stability.replay_memory import ReplayMemory
from trainer.train_state import ModelState
from trainer.training_log import Losses
from trainer.update import Update, rebuild
from trainer.workers import WorkerError, this_worker

_log = logging.getLogger(__name__)

_JOB, _RESULT, _REFUSAL = "job.json", "result", "refusal.txt"
_COUNTERS = ("examples", "epochs", "seconds", "train_loss", "watched")
_POLL_SECONDS, _PAUSE_SECONDS = 0.5, 2.0
_GRACE_SECONDS = 60.0  # for a worker to end after a training that is done
_LAST_LINES = 15


@dataclasses.dataclass(frozen=True)
class Job:
    """A training in a folder, which is there for the workers as long as it has a file `job.json`."""

    folder: Path

    @classmethod
    def write(cls, folder: Path, inputs: Inputs, properties: dict[str, Any]) -> Job:
        """Offers a training; the same one has the same folder, so that it goes on where it was broken off."""
        text = json_utils.dumps({"inputs": {name: list(of) for name, of in inputs.items()}, "properties": properties})
        job = cls(folder / hashlib.sha256(text.encode()).hexdigest()[:16])
        shutil.rmtree(job.folder / _RESULT, ignore_errors=True)
        (job.folder / _REFUSAL).unlink(missing_ok=True)
        with atomic_write(job.folder / _JOB) as beside:
            beside.write_text(text)
        return job

    @classmethod
    def present(cls, folder: Path) -> Job | None:
        """The one that is offered; None where there is none."""
        offered = sorted(folder.glob(f"*/{_JOB}"), key=lambda path: path.stat().st_mtime)
        return cls(offered[-1].parent) if offered else None

    @property
    def is_offered(self) -> bool:
        return (self.folder / _JOB).exists()

    @property
    def number(self) -> int:
        """Another for each job, as good as certainly; below 2^48."""
        return int(self.folder.name[:12], 16)

    @property
    def progress(self) -> Path:
        return self.folder / "progress"

    def read(self) -> tuple[Inputs, dict[str, Any]]:
        """The component's inputs and parameters."""
        content = json_utils.loads((self.folder / _JOB).read_text())
        return content["inputs"], content["properties"]

    def withdraw(self) -> None:
        (self.folder / _JOB).unlink(missing_ok=True)

    def save(self, learned: Learned) -> None:
        """Leaves what was learned to the node."""
        result = learned.result
        with atomic_folder(self.folder / _RESULT) as folder:
            result.state.save(folder)
            result.memory.save(folder / "memory.npz")
            learned.losses.save(folder / "losses.json")
            counters = {name: getattr(result, name) for name in _COUNTERS}
            about = {"counters": counters, "notes": list(result.notes), "of_days": list(learned.notes)}
            (folder / "about.json").write_text(json.dumps(about))

    def load(self, settings: Settings) -> Learned:
        """What `save` left."""
        folder = self.folder / _RESULT
        about = json.loads((folder / "about.json").read_text())
        state = ModelState.load(folder)
        result = Update(
            model=rebuild(settings.model, state),
            state=state,
            memory=ReplayMemory.load(folder / "memory.npz"),
            notes=tuple(about["notes"]),
            **about["counters"],
        )
        return Learned(result, tuple(about["of_days"]), Losses.load(folder / "losses.json"))

    def refuse(self, error: BaseException) -> None:
        (self.folder / _REFUSAL).write_text(str(error))

    @property
    def refusal(self) -> str:
        path = self.folder / _REFUSAL
        return path.read_text() if path.exists() else ""

    def log(self, name: str) -> Path:
        """What the processes of a worker have said."""
        return self.folder / f"{name}.log"

    def attempt(self, name: str) -> int:
        """One process that learns the job as this worker; returns its status.

        A job that is withdrawn ends it: it would wait for a cluster that does not come.
        """
        with self.log(name).open("ab") as log:
            command = [sys.executable, "-m", "components.incremental_trainer.worker_process", str(self.folder)]
            process = subprocess.Popen(command, stdout=log, stderr=log)
            try:
                while self.is_offered and process.poll() is None:
                    time.sleep(_POLL_SECONDS)
                return process.wait(None if self.is_offered else _GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                return -1
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()


def learn_as_chief(inputs: Inputs, properties: dict[str, Any], settings: Settings) -> Learned:
    """Offers the training to the workers, takes part as their chief, and returns what all have learned.

    Raises:
      WorkerError: this is no chief, or workers were lost more often than `restarts` allows. What is learned is kept for
        the next time.
      TrainingError: the training itself can't go on.
    """
    training = settings.training
    assert training is not None
    worker = this_worker()
    if not worker.is_chief:
        raise WorkerError(
            f"The pipeline must run on the chief of the cluster in TF_CONFIG. Received: {worker.name}. Run `warmspan "
            "train-worker` here, and the pipeline on the chief, or on worker 0 where there is none."
        )
    job = Job.write(Path(training.folder), inputs, properties)
    try:
        for attempt in range(1 + training.restarts):
            if attempt:
                _log.warning("Training was broken off and goes on, attempt %s: %s", attempt + 1, job.log(worker.name))
                time.sleep(_PAUSE_SECONDS)
            if job.attempt(worker.name) == 0:
                learned = job.load(settings)
                job.withdraw()
                shutil.rmtree(job.folder, ignore_errors=True)  # a worker may be about to write to its log there
                return learned
            if refusal := job.refusal:
                raise TrainingError(refusal)
    finally:
        job.withdraw()
    last = job.log(worker.name).read_text(errors="replace").splitlines()[-_LAST_LINES:]
    raise WorkerError(
        f"A training on several workers must not be broken off more than `training.restarts` times, "
        f"{training.restarts}. Received: {1 + training.restarts} attempts that were. What was learned is kept: see "
        "that every other worker runs `warmspan train-worker`, and run the day again. The chief's last words:\n"
        + "\n".join(last)
    )


def work(folder: Path, say: Callable[[str], None], once: bool) -> None:
    """Learns every job that is offered in `folder`, as a worker that is not the chief; with `once` a single one.

    Raises:
      WorkerError: this is the chief, or TF_CONFIG says nothing of use.
    """
    worker = this_worker()
    if worker.is_chief:
        raise WorkerError(
            f"`warmspan train-worker` is for the workers that are not the chief. Received: {worker.name}, which is. "
            "Run the pipeline here: `warmspan run`."
        )
    say(f"{worker.name} waits for trainings in {folder}.")
    done: Path | None = None
    while True:
        try:
            job = Job.present(folder)
            if job is None or job.folder == done:
                done = done if job is not None else None
                time.sleep(_POLL_SECONDS)
                continue
            say(f"{worker.name} learns {job.folder.name}.")
            status = job.attempt(worker.name)
        except FileNotFoundError:  # it was withdrawn just now
            continue
        if status == 0:
            done = job.folder
            say(f"{worker.name} is done with {job.folder.name}.")
            if once:
                return
        elif job.is_offered:
            say(f"{worker.name} was broken off in {job.folder.name} (status {status}): {job.log(worker.name)}.")
            time.sleep(_PAUSE_SECONDS)
