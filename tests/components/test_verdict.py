"""The gate's verdict, as TFX's Evaluator gives it and as a person reads it, and what is pushed by it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorflow_model_analysis.proto import validation_result_pb2
from tfx.types import artifact_utils, standard_artifacts

from components.gate.component import refused_for_small_slices_alone, splits_of
from components.span_pusher.component import Executor as Pusher
from components.span_pusher.verdict import slice_name
from components.span_pusher.version_folder import versions
from serving.bundle import Manifest, fingerprints, write_bundle
from tests.components.gate_runs import EVENTS, Outcome, Scaled, judge
from tests.serving.bundle.test_manifest import Doubling

# TFMA takes single numbers out of arrays in a way that NumPy deprecates.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Conversion of an array with ndim > 0 to a scalar:DeprecationWarning:tensorflow_model_analysis"
)

LOOSE = {"thresholds": {"recall": {"floor": 0.1, "max_drop": 0.02}}}


def _unloadable(bundle: Path) -> None:
    """The manifest agrees with a file that is no SavedModel."""
    (bundle / "saved_model.pb").write_text("a graph")
    Manifest(Manifest.read(bundle).about, fingerprints(bundle)).write(bundle)


def files_of(outcome: Outcome) -> list[str]:
    return [path.name for path in Path(outcome.blessing.uri).iterdir()]


@pytest.fixture(scope="module")
def blessed(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Not worse than the champion, on a day without a new item."""
    gate = {**LOOSE, "slice_thresholds": {"item_slice:new": {"recall": {"floor": 0.9, "max_drop": 0.0}}}}
    without_new = [event for event in EVENTS if event[1] != b"new"]
    return judge(tmp_path_factory.mktemp("blessed"), gate, Scaled(0.99), Scaled(1.0), without_new)


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Below its floor, and worse than the champion on new items."""
    gate = {
        "thresholds": {"recall": {"floor": 0.46, "max_drop": 0.1}},
        "min_slice_events": 40,
        "slice_thresholds": {"item_slice:new": {"recall": {"max_drop": 0.05}, "ndcg": {"floor": 0.5}}},
    }
    return judge(tmp_path_factory.mktemp("refused"), gate, Scaled(0.9, factor_on_new=0.8), Scaled(1.0))


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """A model whose every metric is no number."""
    return judge(tmp_path_factory.mktemp("broken"), LOOSE, Scaled(float("nan")), Scaled(1.0))


@pytest.mark.parametrize(
    ("there", "asked", "evaluated"),
    [
        (["select", "verdict"], '["verdict"]', ["verdict"]),
        (["eval"], '["verdict"]', ["eval"]),  # of a span from before there were parts
        (["train", "eval"], "null", ["eval"]),
    ],
)
def test_the_part_that_is_asked_for_is_evaluated(there: list[str], asked: str, evaluated: list[str]) -> None:
    examples = standard_artifacts.Examples()
    examples.split_names = artifact_utils.encode_split_names(there)
    assert splits_of(examples, asked) == evaluated


def test_the_first_model_passes_on_its_floor_alone(tmp_path: Path) -> None:
    outcome = judge(tmp_path, LOOSE, Scaled(1.0))
    assert outcome.blessed
    assert outcome.verdict.sentence == "Blessed on 120 held-out events: recall 0.5000, ndcg 0.2500."
    assert outcome.verdict.events == {
        "overall": 120,
        "item_slice:new": 40,
        "item_slice:cold": 40,
        "item_slice:warm": 40,
        "key_slice:warm": 120,
    }
    assert outcome.verdict.metrics["item_slice:new"]["recall"] == {"candidate": pytest.approx(0.625)}
    assert files_of(outcome) == ["BLESSED"]
    written = {path.name.partition("-")[0] for path in Path(outcome.evaluation.uri).iterdir()}
    assert written == {"eval_config.json", "metrics", "validations.tfrecord"}, "what is read, and no more"
    noted = outcome.blessing
    assert noted.get_string_custom_property("current_model") == str(tmp_path / "candidate")
    assert noted.get_int_custom_property("current_model_id") == 2
    assert not noted.has_custom_property("baseline_model_id")


def test_a_refusal_names_each_number_its_slice_and_by_how_much(refused: Outcome) -> None:
    assert not refused.blessed
    start, _, numbers = refused.verdict.sentence.removesuffix(".").partition(": ")
    assert start == "Refused on 120 held-out events"
    low, high = refused.verdict.intervals["item_slice:new"]["recall"]
    assert low < -0.125 < high < 0
    assert set(numbers.split("; ")) == {
        "recall on overall is 0.4292, at least 0.4600 is asked",
        f"recall on item_slice:new is 0.5000 against the champion's 0.6250 (-0.1250, 95 % between {low:+.4f} and "
        f"{high:+.4f}), allowed is -0.0500",
        "ndcg on item_slice:new is 0.2500, at least 0.5000 is asked",
    }
    assert refused.verdict.metrics["overall"]["recall"] == {
        "candidate": pytest.approx(0.42917, rel=1e-4),
        "baseline": pytest.approx(0.5),
    }
    assert files_of(refused) == ["NOT_BLESSED"]


def test_a_slice_that_no_event_falls_into_cannot_refuse(blessed: Outcome) -> None:
    assert blessed.blessed
    assert re.sub(r", 95 % between \S+ and [^)]+", "", blessed.verdict.sentence) == (
        "Blessed on 80 held-out events: recall 0.4331 against the champion's 0.4375 (-0.0044), ndcg 0.2166 against the "
        "champion's 0.2188 (-0.0022). No event fell into item_slice:new: that threshold was not looked at. Too few "
        "events to be sure that recall did not fall too far."
    )
    assert files_of(blessed) == ["BLESSED"]


def test_an_empty_slice_does_not_bless_what_another_threshold_refuses(tmp_path: Path) -> None:
    gate = {
        "thresholds": {"recall": {"floor": 0.6}},
        "slice_thresholds": {"key_slice:new": {"recall": {"floor": 0.9}}},
    }
    outcome = judge(tmp_path, gate, Scaled(1.0))
    assert not outcome.blessed
    assert outcome.verdict.sentence == (
        "Refused on 120 held-out events: recall on overall is 0.5000, at least 0.6000 is asked. No event fell into "
        "key_slice:new: that threshold was not looked at."
    )
    assert files_of(outcome) == ["NOT_BLESSED"]


def test_without_any_event_nothing_is_blessed(tmp_path: Path) -> None:
    outcome = judge(tmp_path, LOOSE, Scaled(1.0), Scaled(1.0), events=[])
    assert not outcome.blessed
    assert outcome.verdict.sentence == "Refused on 0 held-out events: there is nothing to judge by."


def mean_by_weight(events: list[tuple[float, bytes]], of_slice: bytes | None = None) -> float:
    """Of what a model of factor 1 answers, which is the weight."""
    weights = np.array([weight for weight, label in events if of_slice in (None, label)])
    return float(np.average(weights, weights=np.maximum(weights, 0)))


def test_by_weight_averages_are_the_events_and_their_numbers_are_numbers(tmp_path: Path) -> None:
    """Candidate and champion alike: the weight is the event's, and no bundle has to know of it."""
    events = [*EVENTS, (-8.0, b"warm")]
    gate = {
        "thresholds": {"recall": {"floor": 0.6, "max_drop": 0.02}},
        "slice_thresholds": {"item_slice:cold": {"ndcg": {"floor": 0.48}}},
    }
    outcome = judge(tmp_path, gate, Scaled(0.99), Scaled(1.0), events, weighted=True)
    assert outcome.blessed
    assert outcome.verdict.events["overall"] == len(events)
    assert outcome.verdict.events["item_slice:warm"] == 41
    for where, label in (("overall", None), ("item_slice:warm", b"warm"), ("item_slice:cold", b"cold")):
        expected = mean_by_weight(events, label)
        metrics = outcome.verdict.metrics[where]
        assert metrics["recall"] == {"candidate": pytest.approx(0.99 * expected), "baseline": pytest.approx(expected)}
        assert metrics["ndcg"]["candidate"] == pytest.approx(0.99 * expected / 2)


def test_by_weight_a_candidate_is_refused_for_what_counts(tmp_path: Path) -> None:
    gate = {"thresholds": {"recall": {"floor": 0.1, "max_drop": 0.02}}}
    outcome = judge(tmp_path, gate, Scaled(1.0, factor_on_new=0.8), Scaled(1.0), weighted=True)
    numbers = mean_by_weight(EVENTS), 0.2 * (0.75**2 + 0.5**2) / 3
    assert not outcome.blessed
    low, high = outcome.verdict.intervals["overall"]["recall"]
    assert low < -numbers[1] < high < 0
    assert outcome.verdict.sentence == (
        f"Refused on 120 held-out events: recall on overall is {numbers[0] - numbers[1]:.4f} against the champion's "
        f"{numbers[0]:.4f} ({-numbers[1]:+.4f}, 95 % between {low:+.4f} and {high:+.4f}), allowed is -0.0200."
    )


@pytest.mark.parametrize(("name", "root"), [("rmse", True), ("auc", False)])
def test_by_weight_an_only_metric_is_averaged_too(tmp_path: Path, name: str, root: bool) -> None:
    outcome = judge(tmp_path, {"thresholds": {name: {"floor": 0.7}}}, Scaled(1.0, only=name), weighted=True)
    expected = mean_by_weight(EVENTS)
    assert outcome.verdict.metrics["overall"][name]["candidate"] == pytest.approx(expected**0.5 if root else expected)
    assert outcome.verdict.events["overall"] == 120


@pytest.mark.slow
def test_by_weight_there_are_confidence_intervals_too(tmp_path: Path) -> None:
    gate = {**LOOSE, "confidence_intervals": True}
    outcome = judge(tmp_path, gate, Scaled(0.9), Scaled(1.0), weighted=True)
    low, high = outcome.verdict.intervals["overall"]["recall"]
    assert low < -0.1 * mean_by_weight(EVENTS) < high < 0


@pytest.mark.parametrize(("factor", "blessed"), [(0.99, True), (0.8, False)])
@pytest.mark.slow
def test_confidence_intervals_give_the_same_verdict_with_bounds(tmp_path: Path, factor: float, blessed: bool) -> None:
    outcome = judge(tmp_path, {**LOOSE, "confidence_intervals": True}, Scaled(factor), Scaled(1.0))
    assert outcome.blessed == blessed
    assert outcome.verdict.events["overall"] == 120
    assert outcome.verdict.metrics["overall"]["recall"] == {
        "candidate": pytest.approx(factor / 2, rel=1e-3),
        "baseline": pytest.approx(0.5, rel=1e-3),
    }
    low, high = outcome.verdict.intervals["overall"]["recall"]
    assert low < (factor - 1) / 2 < high
    assert (high < 0) == (factor == 0.8), "a hundredth of 120 events is within chance"
    numbers = f"recall {'' if blessed else 'on overall is '}{factor / 2:.4f} against the champion's 0.5000"
    between = f"({(factor - 1) / 2:+.4f}, 95 % between {low:+.4f} and {high:+.4f})"
    assert f"{numbers} {between}" in outcome.verdict.sentence


def test_slices_have_names_a_person_can_read() -> None:
    assert slice_name(()) == "overall"
    assert slice_name((("item_slice", "new"),)) == "item_slice:new"
    assert slice_name((("item_slice", "new"), ("key_slice", "cold"))) == "item_slice:new,key_slice:cold"


@pytest.mark.parametrize(
    ("changed", "blessed"),
    [
        ({"missing_slices": [{"feature_values": {"item_slice": "new"}}]}, True),
        ({"missing_slices": [{"feature_values": {"item_slice": "new"}}, {}]}, False),
        ({"missing_slices": [{"feature_values": {"item_slice": "new"}}], "missing_thresholds": True}, False),
        (
            {"missing_slices": [{"feature_values": {"a": "b"}}], "metric_validations_per_slice": [{"failures": [{}]}]},
            False,
        ),
        ({"validation_ok": True}, False),
        ({}, False),
    ],
)
def test_only_empty_slices_are_forgiven(changed: dict[str, Any], blessed: bool) -> None:
    validation = validation_result_pb2.ValidationResult(**changed)
    assert refused_for_small_slices_alone(validation, {"overall": 9}, 10) == blessed


def test_a_floor_that_few_events_of_a_slice_are_below_is_shown_and_does_not_refuse(tmp_path: Path) -> None:
    gate = {**LOOSE, "slice_thresholds": {"item_slice:new": {"recall": {"floor": 0.9}}}}
    outcome = judge(tmp_path, {**gate, "min_slice_events": 41}, Scaled(1.0), Scaled(1.0))
    assert outcome.blessed
    assert files_of(outcome) == ["BLESSED"]
    shown = "On only 40 events, which decides nothing: recall on item_slice:new is 0.6250, at least 0.9000 is asked."
    assert outcome.verdict.sentence.endswith(shown)
    (tmp_path / "enough").mkdir()
    assert not judge(tmp_path / "enough", {**gate, "min_slice_events": 40}, Scaled(1.0), Scaled(1.0)).blessed


def test_what_is_worse_by_chance_is_blessed_and_said_to_be_unsure_unless_the_setting_says_otherwise(
    tmp_path: Path,
) -> None:
    few = [(1.0, b"warm"), (1.0, b"new"), (0.5, b"warm")] * 20
    unsure = Scaled(1.0, factor_on_new=0.9)
    (tmp_path / "bless").mkdir()
    outcome = judge(tmp_path / "bless", LOOSE, unsure, Scaled(1.0), few)
    assert not outcome.blessed, "chance does not take a tenth of every new item"
    gate = {**LOOSE, "confidence": 0.9999}
    (tmp_path / "sure").mkdir()
    outcome = judge(tmp_path / "sure", gate, unsure, Scaled(1.0), few)
    assert outcome.blessed
    assert "Too few events to be sure that recall did not fall too far." in outcome.verdict.sentence
    (tmp_path / "refuse").mkdir()
    outcome = judge(tmp_path / "refuse", {**gate, "on_little_evidence": "refuse"}, unsure, Scaled(1.0), few)
    assert not outcome.blessed
    assert files_of(outcome) == ["NOT_BLESSED"]
    assert outcome.verdict.sentence.endswith("gate.on_little_evidence is refuse: not sure to be no worse.")


def test_a_metric_that_is_no_number_is_refused(broken: Outcome) -> None:
    assert not broken.blessed
    assert "recall on overall is nan, at least 0.1000 is asked" in broken.verdict.sentence


@pytest.mark.parametrize("name", ["blessed", "refused", "broken"])
def test_a_blessed_model_is_pushed_and_another_leaves_its_reason(
    tmp_path: Path, request: pytest.FixtureRequest, name: str
) -> None:
    outcome: Outcome = request.getfixturevalue(name)
    model, pushed = standard_artifacts.Model(), standard_artifacts.PushedModel()
    model.uri, pushed.uri = str(tmp_path / "candidate"), str(tmp_path / "pushed")
    model.set_int_custom_property("version", 3)
    model.set_int_custom_property("backoff", 2)
    model.set_string_custom_property("action", "fine_tune")
    bundle = tmp_path / "candidate" / "Format-Serving"
    for folder in (tmp_path / "candidate", tmp_path / "pushed", tmp_path / "served" / "1", tmp_path / "served" / "2"):
        folder.mkdir(parents=True)
    write_bundle(Doubling(), bundle, {"span": 9})
    served = tmp_path / "served"

    inputs = {
        "model": [model],
        "model_blessing": [outcome.blessing],
        "evaluation": [outcome.evaluation],
        "comparison": [outcome.comparison],
    }
    properties = {"span": 9, "served": str(served), "keep_versions": 2, "latency_budget_ms": 10_000.0}
    Pusher(Pusher.Context()).Do(inputs, {"pushed": [pushed]}, properties)

    sentence = pushed.get_string_custom_property("verdict")
    assert sentence == outcome.verdict.sentence
    assert json.loads((tmp_path / "pushed" / "verdict.json").read_text())["sentence"] == sentence
    assert pushed.get_int_custom_property("span") == 9
    assert pushed.get_int_custom_property("pushed") == int(name == "blessed")
    assert pushed.get_string_custom_property("pushed_version") == ("3" if name == "blessed" else "")
    assert (
        pushed.get_float_custom_property("baseline_recall") == outcome.verdict.metrics["overall"]["recall"]["baseline"]
    )
    assert pushed.has_custom_property("candidate_recall") == (name != "broken")  # ML Metadata can't store a NaN
    assert versions(served) == ([2, 3] if name == "blessed" else [1, 2])
    # By which the next update learns.
    lessons = {
        "blessed": ("not worse", ""),
        "refused": ("refused", "worse than the champion and below a floor"),
        "broken": ("refused", "below a floor"),
    }
    assert tuple(pushed.get_string_custom_property(of) for of in ("lesson", "against")) == lessons[name]
    assert pushed.get_int_custom_property("backoff") == 2
    assert pushed.get_string_custom_property("action") == "fine_tune"
    if name == "blessed":
        metrics = {of: values["candidate"] for of, values in outcome.verdict.metrics["overall"].items()}
        about = Manifest.read(served / "3").about
        assert (about["span"], about["verdict"], about["metrics"]) == (9, sentence, metrics)
        assert about["validation"]["latency_ms"] == pushed.get_float_custom_property("latency_ms") > 0
        assert about["validation"]["load_seconds"] > 0


@pytest.mark.parametrize(
    ("damage", "budget", "words"),
    [
        (lambda bundle: (bundle / "saved_model.pb").write_text("damaged"), 10_000.0, "part saved_model.pb, manifest"),
        (_unloadable, 10_000.0, "The export must load and answer. Received: .*Cannot"),
        (lambda bundle: None, 1e-6, "must be answered within 1e-06 ms"),
    ],
)
def test_a_blessed_model_whose_export_is_not_fit_is_refused_in_a_sentence(
    tmp_path: Path, blessed: Outcome, damage: Callable[[Path], Any], budget: float, words: str
) -> None:
    model, pushed = standard_artifacts.Model(), standard_artifacts.PushedModel()
    model.uri, pushed.uri = str(tmp_path / "candidate"), str(tmp_path / "pushed")
    model.set_int_custom_property("version", 3)
    for folder in (tmp_path / "candidate", tmp_path / "pushed", tmp_path / "served" / "2"):
        folder.mkdir(parents=True)
    write_bundle(Doubling(), tmp_path / "candidate" / "Format-Serving", {})
    damage(tmp_path / "candidate" / "Format-Serving")
    inputs = {
        "model": [model],
        "model_blessing": [blessed.blessing],
        "evaluation": [blessed.evaluation],
        "comparison": [blessed.comparison],
    }
    properties = {"span": 9, "served": str(tmp_path / "served"), "keep_versions": 2, "latency_budget_ms": budget}
    Pusher(Pusher.Context()).Do(inputs, {"pushed": [pushed]}, properties)

    sentence = pushed.get_string_custom_property("verdict")
    assert sentence.startswith("Refused before the push: ")
    assert sentence.endswith(f" The gate had said: {blessed.verdict.sentence}")
    assert re.search(words, sentence)
    assert "\n" not in sentence
    assert pushed.get_int_custom_property("pushed") == 0
    assert pushed.get_int_custom_property("version") == 3
    assert pushed.get_string_custom_property("pushed_version") == ""
    assert pushed.get_string_custom_property("lesson") == "not worse", "that is not the learning's fault"
    assert not json.loads((tmp_path / "pushed" / "verdict.json").read_text())["blessed"]
    assert versions(tmp_path / "served") == [2]


def test_a_slice_too_small_for_an_interval_keeps_no_day_from_its_verdict(tmp_path: Path) -> None:
    few = [event for event in EVENTS if event[1] != b"new"] + [(0.5, b"new")]
    outcome = judge(tmp_path, {**LOOSE, "confidence_intervals": True}, Scaled(1.0), Scaled(1.0), few)
    assert outcome.blessed
    assert outcome.verdict.metrics["item_slice:new"]["recall"] == {"candidate": 0.5, "baseline": 0.5}
    assert set(outcome.verdict.intervals["overall"]) == {"recall", "ndcg"}
    assert "item_slice:new" not in outcome.verdict.intervals
