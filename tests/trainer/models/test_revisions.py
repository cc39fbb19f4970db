"""A model that was saved in an earlier form of its class is read, goes on and is served in that form."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from serving.bundle import write_bundle
from serving.bundle.protocols import Catalogue
from serving.bundle.signatures import Signatures
from tests.serving.recommenders import loaded
from trainer.checks.small_data import random_sequences
from trainer.keras2 import tf
from trainer.models import ModelError, build_model
from trainer.models.base import TableSizes
from trainer.models.sasrec import SasRec
from trainer.settings import DistillationSettings, ModelSpec, Policy, Stability
from trainer.train_state import ModelState, StateError
from trainer.update import Span, Update, rebuild, update

# Learned by the code before there were revisions, and what it answered.
RECORDED = Path(__file__).parent / "recorded_sasrec"
SIZES, LENGTH = TableSizes(30, 4, 2), 8
PARAMS = {"dimension": 8, "negatives": 5, "neighbours": 4, "blocks": 2, "heads": 2, "inner": 2}
SPEC = ModelSpec("sasrec", PARAMS, LENGTH)


def learn(base: ModelState | None, sizes: TableSizes = SIZES, events: int = 30, **how: object) -> Update:
    policy = Policy(epochs=1, batch_size=16, optimizer="adam", learning_rate=0.01, **how)
    span = Span(2, random_sequences(sizes, events, seed=4))
    return update(SPEC, sizes, [span], random_sequences(sizes, 8, 5).positions(), np.ones(sizes.items), policy, base)


@pytest.fixture(scope="module")
def saved() -> ModelState:
    return ModelState.load(RECORDED)


def test_a_state_that_names_no_revision_is_read_and_scores_as_it_did(saved: ModelState) -> None:
    recorded = np.load(RECORDED / "scores.npz")
    model = rebuild(SPEC, saved)
    assert isinstance(model, SasRec)
    assert (saved.revision, model.revision, model.before_head) == (1, 1, None)
    keys, histories = tf.ones(5, tf.int64), tf.constant(recorded["history"])
    np.testing.assert_allclose(model.score_all(keys, histories), recorded["scores"], rtol=1e-4, atol=1e-5)
    model.freeze()
    np.testing.assert_allclose(model.score_all(keys, histories), recorded["scores"], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_it_is_served_as_it_was(saved: ModelState, tmp_path: Path) -> None:
    recorded = np.load(RECORDED / "scores.npz")
    model = rebuild(SPEC, saved)
    model.freeze()
    ids = [b"", b"", *(b"item %d" % row for row in range(2, SIZES.items))]
    catalogue = Catalogue(ids[2:], [b"user 2", b"user 3"], {}, 2)
    write_bundle(Signatures(model, catalogue, 5, 9, False), tmp_path / "bundle", {})
    history = np.array([[ids[row] for row in rows] for rows in recorded["history"]], object)
    candidates = np.array([ids[2:]] * len(history), object)
    ask = loaded(tmp_path / "bundle")
    scores = ask("rank", user_id=np.array([b"nobody"] * 5, object), history=history, candidates=candidates)
    np.testing.assert_allclose(scores["scores"], recorded["scores"][:, 2:], rtol=1e-4, atol=1e-5)


def test_it_goes_on_in_its_form_from_day_to_day(saved: ModelState, tmp_path: Path) -> None:
    # With a teacher, which is built of the same state.
    distillation = Stability(distillation=DistillationSettings(weight=0.5, batches="new"))
    second = learn(saved, TableSizes(36, 4, 2), stability=distillation)
    second.state.save(tmp_path)
    kept = ModelState.load(tmp_path)
    assert (second.model.revision, kept.revision, kept.learned) == (1, 1, (1, 2))
    assert kept.weights.keys() == saved.weights.keys()
    assert kept.iterations > saved.iterations
    # Without a new event nothing has moved: what was learned is where it was, and is read the same way.
    still = learn(saved, events=0)
    recorded = np.load(RECORDED / "scores.npz")
    mixture = saved.weights["mixture/weights_"]
    still.model.mixture.weights_.assign(mixture)
    still.model.set_popularity(saved.weights["popularity/counts"].astype(np.float64))
    scores = still.model.score_all(tf.ones(5, tf.int64), tf.constant(recorded["history"]))
    np.testing.assert_allclose(scores, recorded["scores"], rtol=1e-4, atol=1e-5)


def test_what_begins_anew_is_of_the_newest_form() -> None:
    fresh = learn(None, events=0).state
    assert fresh.revision == SasRec.revisions[-1] == 3
    assert "before_head/gamma" in fresh.weights
    assert not fresh.weights["blocks/1/output_/kernel"].any()
    assert learn(fresh, events=0).state.revision == 3


def test_a_state_says_more_than_the_parameters(saved: ModelState) -> None:
    spec = dataclasses.replace(SPEC, params={**PARAMS, "revision": 2})
    assert rebuild(spec, saved).revision == 1


def test_a_form_that_the_class_does_not_have_is_refused(saved: ModelState) -> None:
    later = dataclasses.replace(saved, revision=4)
    rule = r"form that `sasrec` has: revision 1, 2, 3. Received: revision 4.*full retrain"
    with pytest.raises(StateError, match=rule):
        rebuild(SPEC, later)
    with pytest.raises(StateError, match="revision 4"):
        learn(later)
    with pytest.raises(ModelError, match="revision must be one of 1, 2, 3, not 9"):
        build_model("sasrec", SIZES, LENGTH, {"revision": 9})


@pytest.mark.parametrize(("type_", "before"), [("sasrec", 2), ("hstu", 1)])
def test_what_was_weighed_by_a_few_weights_goes_on_without_a_network(type_: str, before: int) -> None:
    spec = ModelSpec(type_, {**PARAMS, "revision": before}, LENGTH)
    span, held_out = random_sequences(SIZES, 30, seed=4), random_sequences(SIZES, 8, 5).positions()
    policy = Policy(epochs=1, batch_size=16, optimizer="adam", learning_rate=0.01)
    first = update(spec, SIZES, [Span(1, span)], held_out, np.ones(SIZES.items), policy).state
    # Whatever the settings say from then on.
    spec = ModelSpec(type_, PARAMS, LENGTH)
    second = update(spec, SIZES, [Span(2, span)], held_out, np.ones(SIZES.items), policy, first)
    assert (first.revision, second.state.revision) == (before, before)
    assert not [path for path in second.state.weights if "network" in path]
    assert second.model.mixture.network is None
