"""The trials' sick days are sick in the way they say, and are held or refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from benchmarks.guard_trials import _REST, SHOPS, SICK, DataSet, assess, ingest, young
from benchmarks.sick_deliveries import sick
from components.span_example_gen.settings import Settings, make_settings
from components.span_guard.limits import reasons
from components.span_guard.profile import Profile
from tests.components.guard_days import FIRST, make_day

SHOP, DAYS = SHOPS["movietweetings"], 14


def _file(span: int) -> pd.DataFrame:
    day = make_day(span)
    texts = {"user_id": day.keys, "item_id": day.items}
    columns = {name: [text.decode() for text in ids.to_pylist()] for name, ids in texts.items()}
    times = (day.timestamps // 1000).astype(str)
    return pd.DataFrame({**columns, "timestamp": times, "rating": day.columns["price"].to_numpy().astype(str)})


@pytest.fixture(scope="module")
def settings() -> Settings:
    columns = {"key": "user_id", "item": "item_id", "timestamp": "timestamp", "weight": "rating"}
    return make_settings({**_REST, "columns": columns}, "{YYYY}-{MM}-{DD}/*", 0.1)


def test_every_kind_is_held_or_refused(settings: Settings) -> None:
    spans = list(range(FIRST, FIRST + DAYS))
    files = [_file(span) for span in spans]
    past: list[Profile] = []
    for span, file in zip(spans[:-1], files, strict=False):
        day = ingest(file, settings, span)
        assert day is not None
        past.append(assess(span, day, past)[0])
    said, let_in = {}, []
    for kind, file in sick(SHOP, files, spans, seed=1):
        day = ingest(file, settings, spans[-1])
        if day is None:
            said[kind] = "refused"
            continue
        profile, judgements = assess(spans[-1], day, past)
        said[kind] = "; ".join(reasons(profile.figures, judgements))
        let_in += [kind] * (not said[kind])
    assert not let_in
    assert len(said) == 15
    assert said["times in another unit"] == "refused"


def test_young_roots_begin_so_many_days_before_the_sick_one(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SICK, "movietweetings", (5, 8, DAYS - 1))
    spans = range(FIRST, FIRST + DAYS)
    dates = [f"day {place}" for place in range(DAYS)]
    data = DataSet("movietweetings", SHOP, settings, dates, spans, [_file(span) for span in spans])
    result = young(data, [7])["7"]
    assert list(result["sick"]) == ["day 8", f"day {DAYS - 1}"]
    assert (result["judged"], result["false_alarms"]) == (2, [])
    held = [why for said in result["sick"].values() for why in said.values() if " days)" in why]
    # The first day of a root has no figures that compare: others have seven.
    assert held
    assert all("(7 days)" in why or "(6 days)" in why for why in held)


def test_shuffling_within_keys_keeps_each_keys_items() -> None:
    files = [_file(FIRST), _file(FIRST + 1)]
    kinds = dict(sick(SHOP, files, [FIRST, FIRST + 1], seed=1))
    shuffled = kinds["labels shuffled within keys"]
    for key in ("user_id", "timestamp"):
        assert (shuffled[key].to_numpy() == files[1][key].to_numpy()).all()
    of = [file.groupby("user_id")["item_id"].apply(sorted) for file in (shuffled, files[1])]
    assert of[0].equals(of[1])
    assert (shuffled["item_id"].to_numpy() != files[1]["item_id"].to_numpy()).mean() > 0.3
    bot = kinds["a bot with a third of the events"]
    assert np.isclose((bot["user_id"] == SHOP.person).mean(), 1 / 3, atol=0.01)
