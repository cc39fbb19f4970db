"""How far a span is from those before, by TFDV's comparators, and what a policy reads from the artifacts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import tensorflow_data_validation as tfdv
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow_data_validation.statistics import stats_impl
from tfx.types import artifact, standard_artifacts

from components import artifacts
from components.resolvers import Champion, retrained
from components.update_decider.component import Executor
from components.update_decider.decision import Decision
from components.update_decider.drift import DriftError, distances
from components.update_decider.policy import DriftRule, Limit
from components.update_decider.signals import read_signals
from tests.components.plain_settings import NO_LIMIT, update_policy
from trainer.vocabulary import Vocabulary

JENSEN_SHANNON = DriftRule("item", "jensen_shannon", NO_LIMIT)
INFINITY = DriftRule("item", "infinity_norm", NO_LIMIT)
DAY = [b"a"] * 60 + [b"b"] * 30 + [b"c"] * 10


def statistics(**columns: list[bytes | float | int]):
    lists = {name: pa.array([[value] for value in values]) for name, values in columns.items()}
    return stats_impl.generate_statistics_in_memory(pa.RecordBatch.from_pydict(lists))


def jensen_shannon(left: list[bytes], other: list[bytes]) -> float:
    """By its definition (Lin, 1991), in bits."""
    ids = sorted({*left, *other})
    p, q = (np.array([values.count(name) for name in ids]) / len(values) for values in (left, other))
    middle = (p + q) / 2

    def divergence(part: np.ndarray) -> float:
        some = part > 0
        return float(np.sum(part[some] * np.log2(part[some] / middle[some])))

    return (divergence(p) + divergence(q)) / 2


def test_the_measures_are_what_they_are_called():
    other = [b"a"] * 20 + [b"b"] * 30 + [b"d"] * 50
    measured = distances(statistics(item=DAY), [statistics(item=other)], [JENSEN_SHANNON, INFINITY])
    assert measured == (
        ("item", "jensen_shannon", pytest.approx(jensen_shannon(DAY, other))),
        ("item", "infinity_norm", pytest.approx(0.5)),
    )


@settings(max_examples=25)
@given(*[st.lists(st.sampled_from([b"a", b"b", b"c", b"d"]), min_size=1, max_size=30)] * 2)
def test_the_distance_is_that_of_its_definition(left, other):
    ((_, _, value),) = distances(statistics(item=left), [statistics(item=other)], [JENSEN_SHANNON])
    assert value == pytest.approx(jensen_shannon(left, other), abs=1e-9)
    assert 0 <= value <= 1


def test_a_catalogue_that_was_turned_over_is_as_far_as_can_be():
    measured = distances(statistics(item=DAY), [statistics(item=[b"x", b"y"])], [JENSEN_SHANNON, INFINITY])
    assert [value for _, _, value in measured] == pytest.approx([1.0, 0.6])


def test_the_nearest_of_the_days_before_counts():
    far, near = statistics(item=[b"x"] * 10), statistics(item=DAY)
    for before in ([far, near], [near, far]):
        assert distances(statistics(item=DAY), before, [INFINITY]) == (("item", "infinity_norm", 0.0),)


def test_numbers_are_compared_too_but_not_by_the_frequency_of_a_value():
    low, high = statistics(price=[float(value) for value in range(100)]), statistics(price=[1000.0] * 100)
    rule = DriftRule("price", "jensen_shannon", NO_LIMIT)
    ((_, _, same),) = distances(low, [low], [rule])
    ((_, _, apart),) = distances(low, [high], [rule])
    assert same < 0.01 < 0.5 < apart <= 1
    with pytest.raises(DriftError, match=r"policy.drift.columns.price.measure` must be jensen_shannon"):
        distances(low, [low], [DriftRule("price", "infinity_norm", NO_LIMIT)])


def test_a_column_that_became_text_has_nothing_in_common_with_what_it_was():
    rule = DriftRule("size", "jensen_shannon", NO_LIMIT)
    assert distances(statistics(size=[b"large"]), [statistics(size=[42])], [rule]) == (("size", "jensen_shannon", 1.0),)


def test_what_can_not_be_compared_is_left_out():
    assert distances(statistics(item=DAY), [], [JENSEN_SHANNON]) == ()
    assert distances(statistics(key=DAY), [statistics(item=DAY)], [JENSEN_SHANNON]) == ()
    assert distances(statistics(item=DAY), [statistics(key=DAY)], [JENSEN_SHANNON]) == ()
    assert distances(statistics(item=DAY), [statistics(key=DAY), statistics(item=DAY)], [INFINITY]) == (
        ("item", "infinity_norm", 0.0),
    )


# What is read from the artifacts.


def made(kind: type, **properties: int | float | str) -> artifact.Artifact:
    created = kind()
    for name, value in properties.items():
        setter = {int: "int", float: "float", str: "string"}[type(value)]
        getattr(created, f"set_{setter}_custom_property")(name, value)
    return created


def statistics_artifact(folder: Path, span: int, items: list[bytes]) -> artifact.Artifact:
    created = standard_artifacts.ExampleStatistics()
    created.uri, created.split_names, created.span = str(folder), '["train", "eval"]', span
    (folder / "Split-train").mkdir(parents=True)
    path = folder / "Split-train" / "FeatureStats.pb"
    path.write_bytes(statistics(item=items).SerializeToString())
    assert tfdv.load_stats_binary(str(path)).datasets
    return created


def vocabulary_artifact(folder: Path) -> artifact.Artifact:
    folder.mkdir()
    for name, days in (("items", [[b"a", b"b"], [b"b", b"c", b"d"]]), ("keys", [[b"u"], [b"u"]])):
        vocabulary = Vocabulary.empty(1)
        for span, ids in enumerate(days, start=9):
            vocabulary = vocabulary.grow(ids, span, 1, half_life=7.0)
        vocabulary.save(folder, name)
    created = artifacts.Vocabulary()
    created.uri = str(folder)
    return created


RULES = update_policy(
    next_span=Limit(None, 3.0),
    drift=(DriftRule("item", "jensen_shannon", Limit(None, 0.5)),),
    retention=Limit(None, 0.1),
    new_items=Limit(None, 0.5),
    new_keys=Limit(None, 0.5),
)


def lineage(folder: Path) -> dict[str, list[artifact.Artifact]]:
    older = {"4": {"recall": 0.1, "events": 30.0}, "5": {"recall": 0.2, "events": 30.0}, "6": {"events": 0.0}}
    return {
        "evaluation": [
            made(artifacts.NextSpanEvaluation, span=10, recall=0.2, ndcg=0.1, events=90.0, older=json.dumps(older))
        ],
        "evaluations": [
            made(artifacts.NextSpanEvaluation, span=8),
            made(artifacts.NextSpanEvaluation, span=9, recall=0.3),
        ],
        "vocabulary": [vocabulary_artifact(folder / "vocabulary")],
        "statistics": [statistics_artifact(folder / "today", 10, DAY)],
        "past_statistics": [statistics_artifact(folder / "yesterday", 9, [b"x"])],
        "verdicts": [
            made(standard_artifacts.PushedModel, span=4, candidate_recall=0.15),
            made(standard_artifacts.PushedModel, span=5),
            made(standard_artifacts.PushedModel, span=6, candidate_recall=0.5),
        ],
        "decisions": [
            made(artifacts.Decision, span=span, action=action)
            for span, action in ((6, "cold_start"), (7, "retrain"), (8, "fine_tune"), (9, "skip"))
        ],
        "model": [made(standard_artifacts.Model, span=9, retrained=6)],
    }


def test_every_figure_comes_from_the_lineage(tmp_path):
    signals = read_signals(RULES, 10, lineage(tmp_path))
    assert (signals.next_span, signals.past_next_span) == (0.2, (0.3,))
    assert signals.drift == (("item", "jensen_shannon", pytest.approx(1.0)),)
    assert signals.retention == ((0.1, 0.15),), "a span without a figure then or now can't be compared"
    assert (signals.new_items, signals.new_keys) == (pytest.approx(2 / 3), 0.0)
    assert (signals.retrained, signals.tried) == (6, 7)


def test_without_a_lineage_nothing_is_known():
    assert read_signals(RULES, 10, {}) == read_signals(update_policy(), 10, {"model": [], "evaluations": []})
    assert read_signals(update_policy(), 10, {}).retrained is None


def test_the_component_decides_by_them_and_keeps_drift_and_the_users_wish(tmp_path):
    inputs = {
        **lineage(tmp_path),
        "sequences": [made(standard_artifacts.Examples, span=10, new_events=500)],
        "held_out": [made(standard_artifacts.Examples, span=10, events=50)],
        "past_sequences": [made(standard_artifacts.Examples, span=span) for span in (7, 8, 9)],
    }
    settings = {"span": 10, "min_held_out": 20, "max_owed": 3, "retrain_spans": 3, "rules": RULES.to_json()}
    for number, override in enumerate((None, "skip")):
        output = artifacts.Decision()
        output.uri = str(tmp_path / str(number))
        Path(output.uri).mkdir()
        Executor(Executor.Context()).Do(inputs, {"decision": [output]}, {**settings, "overrule": override})
        decision = Decision.read(output.uri)
        assert decision.drift == output.get_string_custom_property("drift") != ""
        assert (decision.action, decision.overruled) == (("retrain", "") if override is None else ("skip", "retrain"))
        assert output.get_string_custom_property("overruled") == decision.overruled
    assert "`item` is 1.000 (Jensen-Shannon)" in decision.reason
    assert "66.7% of the items are new" in decision.reason


def test_a_model_says_when_it_was_trained_from_nothing():
    assert retrained(made(standard_artifacts.Model, retrained=7, learned="[3, 4]")) == 7
    assert retrained(made(standard_artifacts.Model, retrained=0, learned="[3, 4]")) == 0
    assert retrained(made(standard_artifacts.Model, learned="[5, 6]")) == 5, "from before it was written down"


def test_earlier_spans_are_resolved_by_how_many_and_how_old():
    held_out = [made(standard_artifacts.Examples, span=span) for span in range(1, 12)]
    days = []
    for span in (8, 9, 10, 11):
        statistics_before = standard_artifacts.ExampleStatistics()
        statistics_before.span = span
        days.append(statistics_before)
    for number, number_and_artifact in enumerate([*held_out, *days], start=1):
        number_and_artifact.id = number
    inputs = {name: [] for name in ("model", "model_blessing", "sequences", "memory")}
    window = {"older_held_out": [2, 3], "past_statistics": [2, 0], "decisions": [5, 0]}
    resolved = Champion(span=10, most=3, window=window).resolve_artifacts(
        None, {**inputs, "older_held_out": held_out, "past_statistics": days, "decisions": []}
    )
    assert [artifact.get_int_custom_property("span") for artifact in resolved["older_held_out"]] == [5, 6]
    assert [artifact.span for artifact in resolved["past_statistics"]] == [8, 9]
    assert resolved["decisions"] == []
    few = Champion(span=3, most=3, window=window).resolve_artifacts(
        None, {**inputs, "older_held_out": held_out, "past_statistics": days, "decisions": []}
    )
    assert few["older_held_out"] == few["past_statistics"] == []
