"""Two processes on loopback train what the pipeline's chief offers; one is killed, and nothing is lost."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from components.incremental_trainer.artifact_files import LOSSES_FILE, STATE_FOLDER
from components.incremental_trainer.settings import Settings, SharedTraining
from components.incremental_trainer.workers import Job, work
from components.update_decider.decision import Decision
from tests.components.trained_days import SETTINGS, Day, make_day, train
from trainer.early_stopping import TrainingError
from trainer.train_state import ModelState
from trainer.training_log import Losses
from trainer.workers import WorkerError

REPOSITORY = Path(__file__).resolve().parents[2]
POLICY = dataclasses.replace(SETTINGS.policy, epochs=30, patience=30)
COLD = Decision("cold_start", "No model is in service yet.", (7,))


@pytest.fixture
def day(tmp_path: Path) -> Day:
    return make_day(tmp_path / "days", 7, 5, [(2, [2, 3, 4, 5, 6], 0), (3, [4, 2], 0), (4, [6, 5, 3], 0)])


def cluster(index: int, ports: list[int]) -> str:
    workers = [f"localhost:{port}" for port in ports]
    return json.dumps({"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}})


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for of in sockets:
            of.bind(("localhost", 0))
        return [of.getsockname()[1] for of in sockets]


def on_workers(folder: Path, **policy: object) -> Settings:
    shared = SharedTraining("multi_worker", 2, str(folder))
    return dataclasses.replace(SETTINGS, policy=dataclasses.replace(POLICY, **policy), training=shared)


@contextlib.contextmanager
def worker(folder: Path, ports: list[int]) -> Iterator[subprocess.Popen]:
    """`warmspan train-worker` without the settings file, as worker 1."""
    program = (
        "import sys; from pathlib import Path; from components.incremental_trainer.workers import work; "
        "work(Path(sys.argv[1]), print, once=True)"
    )
    environment = {**os.environ, "TF_CONFIG": cluster(1, ports), "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", program, str(folder)]
    with subprocess.Popen(command, env=environment, cwd=REPOSITORY, stdout=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


def kill_in_the_middle(folder: Path, supervisor: subprocess.Popen) -> str:
    """A program that kills the worker's process, not its supervisor, once an epoch is kept."""
    return (
        "import os, signal, sys, time; from pathlib import Path\n"
        f"while not list(Path({str(folder)!r}).glob('*/progress/*/epochs/about.json')): time.sleep(0.01)\n"
        f"pids = Path('/proc/{supervisor.pid}/task/{supervisor.pid}/children').read_text().split()\n"
        "[os.kill(int(pid), signal.SIGKILL) for pid in pids]\n"
        "print(len(pids))"
    )


@pytest.mark.slow
def test_a_worker_is_killed_and_the_model_is_that_of_a_training_without_workers(
    tmp_path: Path, day: Day, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = train(tmp_path / "alone", day, COLD, settings=dataclasses.replace(SETTINGS, policy=POLICY))
    ports, folder = free_ports(2), tmp_path / "workers"
    monkeypatch.setenv("TF_CONFIG", cluster(0, ports))
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    with worker(folder, ports) as supervisor:
        killer = subprocess.Popen(
            [sys.executable, "-c", kill_in_the_middle(folder, supervisor)], stdout=subprocess.PIPE, text=True
        )
        shared = train(tmp_path / "shared", day, COLD, settings=on_workers(folder))
        assert killer.communicate()[0].strip() == "1", "the worker was at work when it was killed"
        assert supervisor.wait(120) == 0
    expected, received = (ModelState.load(Path(model.uri) / STATE_FOLDER) for model in (alone, shared))
    for path, weights in expected.weights.items():
        np.testing.assert_allclose(received.weights[path], weights, atol=1e-4)
    for path, slots in expected.slots.items():
        for name, slot in slots.items():
            np.testing.assert_allclose(received.slots[path][name], slot, atol=1e-4)
    assert (received.learned, received.iterations) == (expected.learned, expected.iterations)
    for name in ("examples", "epochs"):
        assert shared.get_int_custom_property(name) == alone.get_int_custom_property(name)
    assert Losses.load(Path(shared.uri) / LOSSES_FILE).watch == "loss"
    assert list(folder.iterdir()) == [], "what a training goes on from is gone when it is done"
    # A root goes on without workers from what they have learned, as from anything else.
    owing = Decision("fine_tune", "The champion owes a span.", (8,))
    monkeypatch.delenv("TF_CONFIG")
    next_day = make_day(tmp_path / "days", 8, 6, [(3, [4, 2, 7, 5], 2)])
    assert train(tmp_path / "next", next_day, owing, past=[day], base=shared).get_int_custom_property("parent") == 701


@pytest.mark.slow
@pytest.mark.exhaustive
def test_what_another_attempt_would_meet_again_is_said_at_once(
    tmp_path: Path, day: Day, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TF_CONFIG", cluster(0, free_ports(1)))
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    with pytest.raises(TrainingError, match=r"The loss must stay finite\. Received: (nan|-?inf) in span 7"):
        train(tmp_path / "first", day, COLD, settings=on_workers(tmp_path / "workers", learning_rate=1e38))
    assert Job.present(tmp_path / "workers") is None


def test_the_pipeline_runs_on_the_chief_and_the_command_on_the_others(
    tmp_path: Path, day: Day, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TF_CONFIG", cluster(1, [1, 2]))
    with pytest.raises(WorkerError, match=r"must run on the chief .* Received: worker-1\. Run `warmspan train-worker`"):
        train(tmp_path / "first", day, COLD, settings=on_workers(tmp_path / "workers"))
    monkeypatch.setenv("TF_CONFIG", cluster(0, [1, 2]))
    with pytest.raises(WorkerError, match=r"not the chief\. Received: worker-0, which is\. Run the pipeline here"):
        work(tmp_path / "workers", print, once=True)


def test_the_same_training_has_the_same_folder_and_is_there_until_it_is_withdrawn(tmp_path: Path, day: Day) -> None:
    inputs, properties = {"sequences": [day.sequences]}, {"span": 7, "settings": "{}"}
    job = Job.write(tmp_path / "workers", inputs, properties)
    assert Job.present(tmp_path / "workers") == job
    read, kept = job.read()
    assert (read["sequences"][0].uri, kept) == (day.sequences.uri, properties)
    assert read["sequences"][0].get_int_custom_property("span") == 7
    job.refuse(ValueError("It can't be."))
    assert job.refusal == "It can't be."
    job.withdraw()
    assert Job.present(tmp_path / "workers") is None
    again = Job.write(tmp_path / "workers", inputs, properties)
    assert (again, again.refusal) == (job, "")
    other = Job.write(tmp_path / "workers", inputs, {**properties, "span": 8})
    assert other.number != job.number
    assert 0 <= job.number < 2**48
