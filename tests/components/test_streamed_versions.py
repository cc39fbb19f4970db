"""Versions between two nights: their numbers, and that what a night or a person decides takes their place."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.span_pusher.streamed_versions import (
    VersionError,
    base_of,
    is_streamed,
    locked,
    number_of,
    streamed_version,
)
from components.span_pusher.version_folder import drop_old, drop_streamed, push, streamed, take_out, versions
from tests.components.folder_changes import make_bundle


@given(base=st.integers(1, 10**10 - 1), number=st.integers(1, 10**5 - 1))
def test_a_streamed_version_is_above_every_nightly_one_and_says_where_it_comes_from(base, number):
    version = streamed_version(base, number)
    assert is_streamed(version)
    assert not is_streamed(base)
    assert base < version < 2**53  # what JSON holds exactly everywhere
    assert (base_of(version), number_of(version)) == (base, number)


def test_it_is_read_by_people_too():
    assert streamed_version(2024050301, 17) == 5202405030100017


@pytest.mark.parametrize(("base", "number"), [(0, 1), (10**10, 1), (2024050301, 0), (2024050301, 10**5)])
def test_what_has_no_digits_left_is_refused(base, number):
    with pytest.raises(VersionError, match=f"Received: number {number} of {base}"):
        streamed_version(base, number)


@pytest.fixture
def served(tmp_path: Path) -> Path:
    folder, bundle = tmp_path / "serving" / "shop", make_bundle(tmp_path / "bundle", "any")
    for version in (2024050101, 2024050201, streamed_version(2024050201, 1), streamed_version(2024050201, 2)):
        push(bundle, folder, version, {})
    return folder


def test_who_asks_for_the_nights_versions_does_not_see_them(served):
    assert versions(served) == [2024050101, 2024050201]
    assert streamed(served) == [5202405020100001, 5202405020100002]


def test_they_do_not_count_among_the_versions_that_are_kept(served):
    assert drop_old(served, keep=1) == [2024050101]
    assert len(streamed(served)) == 2


def test_they_are_taken_out_alone_or_with_others(served):
    take_out(served, [2024050201, 5202405020100002])
    assert (versions(served), streamed(served)) == ([2024050101], [5202405020100001])
    assert drop_streamed(served) == [5202405020100001]
    assert (versions(served), streamed(served)) == ([2024050101], [])


def test_who_holds_the_lock_may_push(served):
    with locked(served):
        push(served.parent.parent / "bundle", served, 2024050301, {})
        drop_streamed(served)
    assert versions(served)[-1] == 2024050301
