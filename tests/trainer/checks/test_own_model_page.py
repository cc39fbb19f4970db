"""The page about a model of one's own: its model keeps the contract, and learns in the pipeline's own update."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from trainer.checks import RecommenderCase, check_policy, recommender_checks
from trainer.checks.small_data import held_out, sequences
from trainer.keras2 import tf
from trainer.models.base import TableSizes
from trainer.settings import DistillationSettings, ModelSpec, Policy, ReplaySettings, Stability
from trainer.update import Span, update

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "own-model.md").read_text()
BLOCKS = re.findall(r"(?ms)^```(\w*)\n(.*?)^```$", PAGE)
MODEL, TEST = (text for language, text in BLOCKS if language == "python")
SETTINGS = yaml.safe_load(next(text for language, text in BLOCKS if language == "yaml"))["model"]
CASE = RecommenderCase(SETTINGS["type"], {"dimension": 8})


@pytest.fixture(scope="module", autouse=True)
def on_the_path(tmp_path_factory: pytest.TempPathFactory):
    """The model's code as the page says to save it."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "gru4rec.py").write_text(MODEL)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield
    sys.modules.pop("gru4rec", None)


@pytest.mark.parametrize("check", recommender_checks(), ids=lambda check: check.__name__)
def test_it_keeps_the_contract(check):
    check(CASE)


@pytest.mark.slow
@pytest.mark.exhaustive
def test_the_parts_that_keep_the_old_days_work_with_it():
    replay, distil = ReplaySettings(budget=8, selection="herding"), DistillationSettings(weight=0.5)
    policy = Policy(epochs=1, batch_size=8, stability=Stability(replay=replay, distillation=distil))
    check_policy(policy, SETTINGS["type"], {"dimension": 8})


def test_it_learns_two_spans_and_what_came_with_the_second():
    spec, base = ModelSpec(SETTINGS["type"], {**SETTINGS["params"], "dropout": 0.0}, 5), None
    policy = Policy(epochs=8, batch_size=16, optimizer="adam", learning_rate=0.01)
    for number, rows in enumerate((20, 26)):
        sizes = TableSizes(rows, 4, 2)
        starts = np.random.default_rng(number).integers(0, rows - 2, 150)
        span = sequences([(1, 2 + (start + np.arange(5)) % (rows - 2), 0) for start in starts])
        result = update(
            spec, sizes, [Span(number, span)], held_out(sizes, 5, 9), np.ones(rows), policy, base, on_epoch=None
        )
        base = result.state
    assert base.learned == (0, 1)
    best = tf.argmax(
        result.model.score_all(tf.constant([1, 1]), tf.constant([[0, 0, 0, 9, 10], [0, 0, 21, 22, 23]])), 1
    )
    assert best.numpy().tolist() == [11, 24]


def test_the_tests_that_the_page_shows_are_tests(tmp_path):
    code: dict = {}
    exec(compile(TEST, "page", "exec"), code)
    assert code["CASE"] == CASE
    code["test_it_keeps_the_contract"](recommender_checks()[0])


def test_the_command_that_the_page_shows_runs_the_checks(monkeypatch):
    calls = []
    monkeypatch.setattr("trainer.checks.check_recommender", lambda *given: calls.append(given))
    exec(re.search(r'(?m)^python -c "(.*)"$', PAGE)[1], {})
    assert calls == [(SETTINGS["type"], CASE.params)]


def test_the_model_is_as_long_as_a_model_should_be():
    assert MODEL.count("\n") <= 65
