"""A tuned revision of an encoder: its vectors are another column, and what was learned of the encoder goes on."""

from __future__ import annotations

import numpy as np
import pytest

from tests.trainer.features.test_models import events
from tests.trainer.features.test_vectors import FIRST, ITEMS, SECOND, TITLE, known, learn, vectors_in
from trainer.features.item_vectors import column_of, feature_of, replaced_columns, revised_columns
from trainer.input_pipeline import Sequences
from trainer.settings import Policy

REVISED = f"{FIRST}_00112233aabb"
AGAIN = f"{FIRST}_ffeeddccbbaa"


@pytest.fixture(scope="module")
def first():
    return learn("two_tower", known())


def of(column: str) -> list[tuple[str, int]]:
    return [(f"feature_{column}", 5), ("feature_image", 3)]


def test_revisions_are_told_from_other_encoders():
    for old, new in ((FIRST, REVISED), (REVISED, AGAIN), (REVISED, FIRST)):
        assert revised_columns(of(old), of(new)) == {old: new}
        assert replaced_columns(of(old), of(new)) == {}
    for old, new in ((FIRST, SECOND), (REVISED, SECOND), (FIRST, f"{SECOND}_00112233aabb")):
        assert revised_columns(of(old), of(new)) == {}
        assert replaced_columns(of(old), of(new)) == {old: new}
    assert revised_columns(of(REVISED), of(REVISED)) == replaced_columns(of(REVISED), of(REVISED)) == {}
    assert [feature_of(column) for column in (FIRST, REVISED)] == ["title", "title"]
    assert column_of(TITLE, of(REVISED)) == (REVISED, 5)


def test_what_was_learned_goes_on_with_a_revision_and_says_so(first):
    after = learn("two_tower", known(column=REVISED), first.state, Sequences.empty())
    for path in (path for path in first.state.weights if f"/{FIRST}/" in path):
        new = path.replace(FIRST, REVISED)
        assert path not in after.state.weights
        assert np.array_equal(after.state.weights[new], first.state.weights[path])
        for name, slot in first.state.slots.get(path, {}).items():
            assert np.array_equal(after.state.slots[new][name], slot)
    assert after.notes == (f"Another revision of an encoder: what was learned of {FIRST} goes on with {REVISED}.",)
    # Of the same vectors under another name an item without events is what it was.
    assert np.array_equal(vectors_in(after.model, "red-new"), vectors_in(first.model, "red-new"))
    assert learn("two_tower", known(column=REVISED), after.state, Sequences.empty()).notes == ()


def test_what_keeps_the_old_days_goes_on_with_a_revision():
    policy = Policy(
        epochs=1, batch_size=16, stability={"proximal": {"strength": 0.1}, "ewc": {"strength": 0.1, "decay": 0.5}}
    )
    first = learn("two_tower", known(), policy=policy)
    after = learn("two_tower", known(column=REVISED), first.state, events(ITEMS, seed=3), policy=policy)
    assert np.isfinite(after.train_loss)
    assert after.state.fisher.keys() == {path.replace(FIRST, REVISED) for path in first.state.fisher}


def test_a_model_is_not_told_the_vectors_of_another_revision(first):
    """Where vectors of two revisions would meet: a model of one of them is told all vectors at once, or none."""
    with pytest.raises(KeyError, match=FIRST):
        first.model.set_features(known(column=REVISED))
