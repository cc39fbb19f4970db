"""What a day is measured by, when it is held, and what is kept of it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.span_guard.figures import Day, measure
from components.span_guard.limits import CATALOGUE_DAYS, IMPLAUSIBLE, LIMITS, PAST, Judgement, Rules, judge, reasons
from components.span_guard.profile import PROFILE_FILE, SKETCHES_FILE, Profile
from components.span_guard.shuffles import BANDS, MOST_EVENTS, bands_of, sample_of_keys
from components.span_guard.sketch import NOTHING, PLACES, Counts, hashes_of, paired
from tests.components.guard_days import FIRST, HOUR, make_day

RULES = Rules(hold=True, at_least=7, spans=28, sensitivity=1.0, ignore=())


def judged(profile: Profile, past: list[Profile], rules: Rules = RULES) -> list[Judgement]:
    return judge(profile.figures, [(before.span, before.figures) for before in past], profile.span, rules)


def why(profile: Profile, past: list[Profile], rules: Rules = RULES) -> list[str]:
    return reasons(profile.figures, judged(profile, past, rules))


def history(days: int, seed: int = 0) -> list[Profile]:
    past: list[Profile] = []
    for span in range(FIRST, FIRST + days):
        past.append(measure(span, make_day(span, seed), past[-RULES.spans :]))
    return past


@pytest.fixture(scope="module")
def past() -> list[Profile]:
    return history(20)


def test_days_of_one_distribution_are_held_rarely() -> None:
    days = [history(40, seed) for seed in range(3)]
    held = [
        why(profiles[at], profiles[max(0, at - RULES.spans) : at])
        for profiles in days
        for at in range(RULES.at_least, len(profiles))
    ]
    assert sum(map(bool, held)) <= 0.01 * len(held)


def _replaced(day: Day, **columns: object) -> Day:
    return dataclasses.replace(day, **columns)


def _shuffled_in_keys(day: Day) -> Day:
    keys = hashes_of(day.keys)[1]
    items = np.array(day.items.to_pylist(), object)
    items[np.argsort(keys, kind="stable")] = items[np.lexsort([np.random.default_rng(3).random(len(keys)), keys])]
    return _replaced(day, items=pa.array(items, pa.binary()))


def _renamed(day: Day, column: str, rename: Callable[[bytes], bytes]) -> Day:
    return _replaced(
        day, **{column: pa.array([rename(text) for text in getattr(day, column).to_pylist()], pa.binary())}
    )


def _rows(day: Day, keep: np.ndarray) -> Day:
    keep = np.flatnonzero(keep)
    taken = {name: getattr(day, name).take(pa.array(keep)) for name in ("keys", "items")}
    columns = {name: column.take(pa.array(keep)) for name, column in day.columns.items()}
    return _replaced(day, **taken, timestamps=day.timestamps[keep], columns=columns, rows=len(keep))


SICK: dict[str, tuple[str, Callable[[Day], Day]]] = {
    "order": ("order", _shuffled_in_keys),
    "items permuted": (
        "popularity",
        lambda day: _renamed(day, "items", lambda text: b"I%04d" % ((int(text[1:]) * 37 + 60) % 120)),
    ),
    "half the catalogue gone": (
        "catalogue",
        lambda day: _rows(day, np.array([int(text[1:]) % 2 == 0 for text in day.items.to_pylist()])),
    ),
    "item ids prefixed": ("shapes_of_items", lambda day: _renamed(day, "items", lambda text: b"x-" + text)),
    "key ids lowercased": ("shapes_of_keys", lambda day: _renamed(day, "keys", bytes.lower)),
    "a zone off": ("shifted_hours", lambda day: _replaced(day, timestamps=day.timestamps + 6 * HOUR)),
    "a tenth": ("events", lambda day: _rows(day, np.arange(len(day.timestamps)) % 10 == 0)),
    "cut off": ("missing_hours", lambda day: _rows(day, np.arange(len(day.timestamps)) < len(day.timestamps) // 8)),
    "prices shifted": (
        "fits price",
        lambda day: _replaced(day, columns={"price": pa.array(np.roll(day.columns["price"].to_numpy(), 1))}),
    ),
    "items shifted by a row": (
        "belongs",
        lambda day: _replaced(day, items=pa.array(np.roll(np.array(day.items.to_pylist(), object), 1), pa.binary())),
    ),
    "many rejects": ("rejects", lambda day: _replaced(day, rejects=day.rows // 2)),
    "many repeats": ("duplicates", lambda day: _replaced(day, duplicates=day.rows // 2)),
    "one key is half": (
        "largest_key",
        lambda day: _replaced(
            day,
            keys=pa.array([text if at % 2 else b"K00001" for at, text in enumerate(day.keys.to_pylist())], pa.binary()),
        ),
    ),
}


@pytest.mark.parametrize("kind", SICK)
def test_each_kind_of_sick_day_is_held_by_the_figure_that_is_for_it(kind: str, past: list[Profile]) -> None:
    span, (figure, spoil) = FIRST + 20, SICK[kind]
    day = make_day(span)
    assert not why(measure(span, day, past), past)
    over = {judgement.figure for judgement in judged(measure(span, spoil(day), past), past) if judgement.excess > 1}
    assert figure in over


def _taste_day(span: int, taste: bool) -> Day:
    """Events without a column and mostly one a key; half of the keys take what sells, the others the long tail."""
    random = np.random.default_rng([span, 5])
    keys = random.integers(0, 600, 500)
    common = keys % 2 == 0 if taste else random.random(500) < 0.5
    items = np.where(common, random.integers(0, 10, 500), random.integers(10, 300, 500))
    return Day(
        keys=pa.array([b"K%04d" % key for key in keys.tolist()], pa.binary()),
        items=pa.array([b"I%04d" % item for item in items.tolist()], pa.binary()),
        timestamps=np.sort(random.integers(0, 24 * HOUR, 500)) + span * 24 * HOUR,
        columns={},
        rows=500,
        rejects=0,
        duplicates=0,
        start=span * 24 * HOUR,
    )


@pytest.mark.parametrize("taste", [True, False])
def test_items_that_go_with_their_keys_are_told_from_shuffled_ones_and_others_hold_no_day(taste: bool) -> None:
    days: list[Profile] = []
    for span in range(FIRST, FIRST + 28):
        days.append(measure(span, _taste_day(span, taste), days))
    for span in range(FIRST + 28, FIRST + 34):
        day = _taste_day(span, taste)
        rolled = _replaced(day, items=pa.array([*day.items.to_pylist()[1:], day.items[0].as_py()], pa.binary()))
        held = [
            any(judgement.figure == "belongs" and judgement.excess > 1 for judgement in judged(profile, days))
            for profile in (measure(span, day, days), measure(span, rolled, days))
        ]
        assert held == [False, taste]


def test_bands_share_out_the_events_and_new_items_have_their_own() -> None:
    before = Counts.of(np.arange(5), np.array([25, 25, 25, 15, 10]))
    assert bands_of(np.array([0, 1, 2, 3, 4, 9]), before).tolist() == [0, 1, 2, 3, 3, BANDS]
    assert bands_of(np.array([0, 9]), NOTHING).tolist() == [BANDS, BANDS]


def test_of_a_large_day_all_events_of_some_keys_are_looked_at() -> None:
    keys = np.random.default_rng(0).integers(0, 2**62, 150_000)[np.arange(600_000) // 4]
    chosen = sample_of_keys(keys)
    assert 0.9 * MOST_EVENTS < chosen.sum() < 1.1 * MOST_EVENTS
    assert not set(keys[chosen]) & set(keys[~chosen])
    assert sample_of_keys(keys[:MOST_EVENTS]).all()


def test_a_profile_from_before_tastes_were_counted_is_read(tmp_path, past: list[Profile]) -> None:
    past[-1].write(str(tmp_path), {})
    with np.load(tmp_path / SKETCHES_FILE) as arrays:
        older = {name: array for name, array in arrays.items() if not name.startswith("tastes")}
    np.savez(tmp_path / SKETCHES_FILE, **older)
    profile = Profile.read(str(tmp_path))
    assert profile.sketches.tastes.total == 0
    assert measure(FIRST + 20, make_day(FIRST + 20), [profile]).figures["belongs"] > 0


def test_yesterdays_file_with_moved_times_is_known_again(past: list[Profile]) -> None:
    day = make_day(FIRST + 19)
    again = _replaced(day, timestamps=day.timestamps + 24 * HOUR, start=day.start + 24 * HOUR)
    profile = measure(FIRST + 20, again, past)
    assert profile.figures["echo"] == 1.0
    assert "pairs of key and item" in " ".join(why(profile, past))


def test_the_reason_names_figure_usual_range_and_limit(past: list[Profile]) -> None:
    profile = measure(FIRST + 20, _renamed(make_day(FIRST + 20), "items", lambda text: b"x-" + text), past)
    assert why(profile, past)[0] == "item ids of a usual shape 0.0%: usual 100.0% (19 days), held below 98.0%"


def test_with_few_past_days_only_what_is_certain_holds(past: list[Profile]) -> None:
    few = past[: RULES.at_least - 1]
    day = make_day(FIRST + 20)
    assert not why(measure(FIRST + 20, _renamed(day, "items", lambda text: b"x-" + text), few), few)
    absurd = measure(FIRST, _replaced(day, timestamps=day.timestamps // 1000), [])
    assert absurd.figures[IMPLAUSIBLE] == 1.0
    assert why(absurd, []) == ["times before 1980 or after 2100 100.0%: held above 10.0% in any case"]


def test_as_many_past_days_as_asked_for_hold_a_day_though_the_first_had_nothing_beside_it(past: list[Profile]) -> None:
    just = past[: RULES.at_least]
    assert [profile.figures[PAST] for profile in just] == list(range(RULES.at_least))
    assert "shapes_of_items" not in just[0].figures
    day = make_day(FIRST + 7)
    assert not why(measure(FIRST + 7, day, just), just)
    assert why(measure(FIRST + 7, _renamed(day, "items", lambda text: b"x-" + text), just), just)


# A young root: each day's past is longer by one than that of the day before it.
GROWN = [0.115, 0.101, 0.176, 0.126, 0.173, 0.098, 0.266]


def _young(figure: str, values: list[float], first: int = 1) -> list[tuple[int, dict[str, float]]]:
    return [(length, {PAST: float(length), figure: value}) for length, value in enumerate(values, first)]


def test_what_grows_with_the_past_is_judged_beside_a_past_of_the_same_length() -> None:
    past = _young("belongs", GROWN)
    assert reasons({}, judge({"belongs": 0.041}, past, 8, RULES))
    assert not reasons({}, judge({"belongs": 0.257}, past, 8, RULES))
    # A root of before: its profiles don't say how long their pasts were, and are taken as they are.
    older = [(span, {"belongs": figures["belongs"]}) for span, figures in past]
    assert not reasons({}, judge({"belongs": 0.041}, older, 8, RULES))


@pytest.mark.parametrize(
    ("figure", "values", "first"),
    [
        ("belongs", GROWN[::-1], 1),  # a trend downwards would only widen the limits
        ("events_per_key", GROWN, 1),  # does not depend on the past
        ("catalogue", GROWN, CATALOGUE_DAYS),  # never looks further back
    ],
)
def test_no_other_trend_is_followed(figure: str, values: list[float], first: int) -> None:
    past = _young(figure, values, first)
    untold = [(span, {figure: figures[figure]}) for span, figures in past]
    assert judge({figure: 0.1}, past, 20, RULES) == judge({figure: 0.1}, untold, 20, RULES)


def test_sensitivity_and_ignored_figures(past: list[Profile]) -> None:
    profile = measure(FIRST + 20, SICK["a tenth"][1](make_day(FIRST + 20)), past)
    (events,) = [judgement for judgement in judged(profile, past) if judgement.figure == "events"]
    (nearer,) = [
        judgement
        for judgement in judged(profile, past, dataclasses.replace(RULES, sensitivity=2))
        if judgement.figure == "events"
    ]
    assert nearer.excess == pytest.approx(2 * events.excess)
    names = {
        judgement.figure
        for judgement in judged(profile, past, dataclasses.replace(RULES, ignore=("events", "drift price", "fits")))
    }
    assert {"catalogue", "largest_key"} <= names
    assert not {"events", "drift price", "fits price"} & names


def test_each_weekday_has_a_level_of_its_own() -> None:
    weeks = [(span, {"events": 1000.0 if span % 7 else 60.0}) for span in range(28)]
    assert not reasons({}, judge({"events": 60.0}, weeks, 28, RULES))
    assert reasons({}, judge({"events": 60.0}, weeks, 29, RULES))


def test_a_past_of_two_kinds_of_days_and_an_outlier() -> None:
    kinds = [(span, {"echo": 0.3 if span % 5 == 0 else 0.02}) for span in range(28)]
    assert not reasons({}, judge({"echo": 0.32}, kinds, 28, RULES))
    outlier = [(span, {"echo": 0.9 if span == 3 else 0.02}) for span in range(28)]
    assert reasons({}, judge({"echo": 0.9}, outlier, 28, RULES))


@given(st.lists(st.floats(0, 1), min_size=7, max_size=28), st.sampled_from(sorted(LIMITS)))
def test_the_median_of_the_past_is_never_held(values: list[float], figure: str) -> None:
    usual = [(span, {figure: value}) for span, value in enumerate(values)]
    if LIMITS[figure].by_weekday:
        usual = [(7 * span, of) for span, of in usual]
    middle = float(np.median(values)) if len(values) % 2 else sorted(values)[len(values) // 2]
    judgement = judge({figure: middle}, usual, 7 * 28, RULES)[0]
    if len(values) % 2:
        assert judgement.excess <= 1e-6


@pytest.mark.parametrize("events", [1, 5])
def test_a_day_with_next_to_nothing_is_measured(events: int, past: list[Profile]) -> None:
    nothing = _rows(make_day(FIRST + 20), np.arange(100) < events)
    profile = measure(FIRST + 20, nothing, past)
    assert profile.figures["events"] == events
    assert any(sentence.startswith("events ") for sentence in why(profile, past))


def test_a_day_on_which_nothing_happened_has_nothing_to_be_held(past: list[Profile]) -> None:
    profile = measure(FIRST + 20, _rows(make_day(FIRST + 20), np.zeros(9, bool)), past)
    assert profile.figures["events"] == 0
    assert not why(profile, past)


def test_a_profile_is_read_as_it_was_written(tmp_path, past: list[Profile]) -> None:
    past[-1].write(str(tmp_path), {"reasons": ["none"]})
    again = Profile.read(str(tmp_path))
    assert (again.span, again.figures, again.shapes) == (past[-1].span, past[-1].figures, past[-1].shapes)
    assert json.loads((tmp_path / PROFILE_FILE).read_text())["reasons"] == ["none"]
    profiles = [measure(FIRST + 20, make_day(FIRST + 20), before) for before in (past, [*past[:-1], again])]
    assert profiles[0].figures == profiles[1].figures
    # What is kept says of no key and no item who or what it was.
    assert not [name for name in ("K0", "I0") if name in (tmp_path / PROFILE_FILE).read_text()]


@given(st.lists(st.integers(0, 2**62 - 1)), st.lists(st.integers(0, 2**62 - 1)))
def test_counts_add_up(first: list[int], second: list[int]) -> None:
    parts = [Counts.of(np.array(hashes, np.int64)) for hashes in (first, second)]
    both = Counts.sum(parts)
    assert both.total == len(first) + len(second)
    assert (both.places < PLACES).all()
    asked = np.array([*first, *second, 5], np.int64)
    expected = [sum(counted % PLACES == hash_ % PLACES for counted in [*first, *second]) for hash_ in asked.tolist()]
    assert both[asked].tolist() == expected


def test_many_and_few_are_counted_alike() -> None:
    hashes = np.random.default_rng(1).integers(0, 2**62, PLACES // 16)
    many = Counts.of(hashes, np.full(len(hashes), 3))
    few = Counts.sum(Counts.of(part, np.full(len(part), 3)) for part in np.array_split(hashes, 8))
    assert (many.places == few.places).all()
    assert (many.counts == few.counts).all()
    assert many.total == 3 * len(hashes)


def test_pairs_are_ordered() -> None:
    hashes, codes = hashes_of(pa.array([b"a", b"b", b"a"]))
    assert codes.tolist() == [0, 1, 0]
    assert paired(hashes[:1], hashes[1:]) != paired(hashes[1:], hashes[:1])
