"""Every built-in model keeps the contract, and each check catches a model that does not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.trainer.checks import broken_models as broken
from trainer.checks import CheckError, RecommenderCase, check_recommender, recommender_checks
from trainer.models import BUILT_IN, ModelError

ROOT = Path(__file__).resolve().parents[3]
_SASREC = {"dimension": 8, "negatives": 5, "neighbours": 4}
_DCN = {"dimension": 8, "crosses": 1, "projection": 4, "hidden": [8]}
CASES = {
    "two_tower": RecommenderCase("two_tower", {"dimension": 8, "negatives": 20}),
    "click": RecommenderCase("ranking", {"dimension": 8, "hidden": [16], "objective": "click"}),
    "crossed clicks": RecommenderCase("dcn", {**_DCN, "objective": "click"}),
    "stages of clicks": RecommenderCase("two_stage", {"ranking": _DCN, "candidates": 5, "retrieval": {"dimension": 8}}),
    "sasrec": RecommenderCase("sasrec", _SASREC),
    "hstu": RecommenderCase("hstu", {**_SASREC, "heads": 2, "inner": 2, "reverse": False}),
    "mf": RecommenderCase("mf", {"dimension": 8, "negatives": 20}),
    "own": RecommenderCase("tests.trainer.small_model.Speaking"),
}
# The same classes with another loss or without a part: what is saved, grown and carried on is as above.
VARIANTS = {
    "large, first revision": RecommenderCase(
        "sasrec", {**_SASREC, "blocks": 2, "heads": 2, "inner": 4, "reverse": False, "revision": 1}
    ),
    "keyless": RecommenderCase("two_tower", {"dimension": 8, "negatives": 20, "key_embedding": False, "dropout": 0.1}),
    "rating": RecommenderCase("ranking", {"dimension": 8, "hidden": [16, 8]}),
    "crossed labels": RecommenderCase("dcn", {**_DCN, "objective": "label", "projection": None}),
    "stages of ratings": RecommenderCase(
        "two_stage", {"ranking": {**_DCN, "objective": "rating"}, "retrieval": {"dimension": 8}}
    ),
    "projected": RecommenderCase("sasrec", {**_SASREC, "head": "projected", "neighbours": 0}),
}
OF_A_VARIANT = (
    "tables_grow",
    "losses_are_finite",
    "gradients_reach_tables",
    "loss_falls",
    "weights_are_what_is_said",
    "a_second_span_is_learned",
    "score_agrees_with_score_all",
    "metrics_are_those_named",
    "shares_add_up",
    "freeze_changes_no_score",
    "exported_and_loaded_it_scores_the_same",
)
BROKEN = {
    "is_built_as_told": [(broken.ForgetsItsSizes, "must keep the `sizes` and the `history_length`.* 99 for")],
    "variables_have_names": [(broken.NamesNothing, "the same path in every model.*'dense_")],
    "tables_grow": [
        (broken.NamesNoTable, r"must be named in `tables`.*`bias` of shape \(29,\), and \(37,\)"),
        (broken.NamesTheOtherVocabulary, r"must have `sizes.keys` rows.*`bias` of shape \(29,\) for 17 rows"),
    ],
    "batches_have_its_form": [(broken.UnknownForm, "`form` must be `positions` or `sequences`. Received: 'sessions'")],
    "losses_are_finite": [
        (broken.LossOfEachPosition, r"must give one finite float32. Received: float32 of shape \(16,\)"),
        (broken.NeedsAnItem, "with 0 items that have a row of their own.*divide_no_nan"),
    ],
    "gradients_reach_tables": [(broken.LearnsNoKey, "a gradient for every.*only zeros for `key/embeddings`")],
    "loss_falls": [(broken.LearnsTheOpposite, r"The loss must fall.*after the first epoch")],
    "weights_are_what_is_said": [
        (broken.NamesNoSuchRole, "`loss`, `label` or `unused`. Received: 'important'"),
        (broken.WeighsNothing, "`weight_role` is `loss` must learn something else.*the same weights"),
        (broken.WeighsWhatIsLearnedAlone, "must be a mean by the events' weights. Received.*whatever the weights"),
        (broken.SumsByWeights, "three times as large, they are the same. Received"),
        (broken.WeighsBelowNothing, "those below 0 taken for 0. Received"),
        (broken.WeighsNoBatchOfZeros, "and 0 where all of them are. Received: nan"),
    ],
    "same_seed_same_result": [(broken.DrawsWithoutASeed, "same seed must give the same weights; `bias` differs")],
    "state_is_whole": [(broken.CountsBeside, "when it is built again from its variables")],
    "warm_start_keeps_what_was_learned": [
        (broken.StartsAgain, "must leave what was learned as it was; `bias` changed")
    ],
    "a_second_span_is_learned": [(broken.RemembersTheFirstDay, r"grown vocabulary. Received: \(24, 29\)")],
    "score_all_scores_every_row": [
        (broken.ScoresOnlyItems, r"every row of items. Received: float32 of shape \(24, 26\)"),
        (broken.DividesByTheHistory, "Every score must be finite, for a request without a history too"),
    ],
    "score_agrees_with_score_all": [(broken.ScoresTwoWays, "must agree with `score_all`")],
    "a_request_is_scored_by_itself": [
        (broken.ComparesRequests, "the same alone and in a batch"),
        (broken.DropsOut, "the same when it comes again.*training=False"),
    ],
    "padding_says_nothing": [(broken.AddsPadding, "Row 0 is padding")],
    "metrics_are_those_named": [
        (broken.NamesAnotherMetric, r"\['mrr', 'ndcg', 'recall'\] for \['hit_rate'\]"),
        (broken.MetricsAsMeans, r"for every position. Received: shape \(\)"),
    ],
    "rows_that_came_later_are_out_of_vocabulary": [(broken.LooksUpWhatItLacks, r"taken for row 1.*self\.known")],
    "padding_is_never_recommended": [(broken.RecommendsPadding, "must be a miss.* 1.0 for item row 0")],
    "score_batch_has_a_row_a_position": [(broken.ScoresWindowsAsPositions, "A model over sequences must override it")],
    "a_request_has_a_vector": [(broken.RepresentsEachEvent, r"a finite vector.*shape \(24, 6, 3\)")],
    "shares_add_up": [(broken.ExplainsTooMuch, "must add up to the item's score")],
    "freeze_changes_no_score": [(broken.FreezesAnother, "`freeze` must change no score")],
    "dot_product_is_as_declared": [(broken.DeclaresVectors, "'whole' of a model whose `dot_product`.*is 'none'")],
    "exported_and_loaded_it_scores_the_same": [(broken.ReadsValues, "must be a graph that a SavedModel can hold")],
}
CHECKS = {check.__name__.removeprefix("check_"): check for check in recommender_checks()}


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_model_keeps_the_contract(case, check):
    check(case)


@pytest.mark.parametrize("check", OF_A_VARIANT)
@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize("case", VARIANTS.values(), ids=VARIANTS)
def test_a_model_with_other_parameters_keeps_what_they_change(case, check):
    CHECKS[check](case)


def test_no_built_in_model_is_left_out():
    assert {case.model for case in CASES.values()} >= set(BUILT_IN)


@pytest.mark.parametrize(
    ("name", "model", "words"), [(name, *pair) for name, pairs in BROKEN.items() for pair in pairs]
)
def test_a_model_that_breaks_the_contract_is_caught(name, model, words):
    with pytest.raises(CheckError, match=f"(?s){words}"):
        CHECKS[name](RecommenderCase(model))


def test_every_check_has_a_model_that_it_catches():
    assert BROKEN.keys() == CHECKS.keys()


def test_all_checks_at_once_stop_at_the_first_that_fails():
    with pytest.raises(CheckError, match="must keep the `sizes`"):
        check_recommender(broken.ForgetsItsSizes)
    check_recommender("tests.trainer.small_model.Small", {"dimension": 2})


@pytest.mark.parametrize("model", [broken.NoRecommender, "no.such.Model"])
def test_what_is_no_recommender_is_refused(model):
    with pytest.raises(ModelError, match=r"`model.type` must be"):
        check_recommender(model)


def test_the_checks_need_no_pytest_and_nothing_needs_the_checks():
    code = "import sys, trainer.checks; sys.exit('pytest' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)
    sources = [
        path for package in ("pipeline", "components", "trainer", "serving") for path in (ROOT / package).rglob("*.py")
    ]
    others = [path for path in sources if ROOT / "trainer" / "checks" not in path.parents]
    assert [
        path
        for path in others
        if "import trainer.checks" in path.read_text() or "from trainer.checks" in path.read_text()
    ] == []
