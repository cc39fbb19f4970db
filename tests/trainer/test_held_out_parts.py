"""Which held-out events choose and which judge, and the files they are in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.held_out_parts import SELECT, VERDICT, held_out_files, in_verdict
from trainer.ids import hash_buckets

KEYS = [f"user {number}" for number in range(20_000)]


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_about_the_share_of_the_events_judges(share: float) -> None:
    events = np.random.default_rng(0).geometric(0.2, len(KEYS))
    assert abs(events[in_verdict(KEYS, events, share)].sum() / events.sum() - share) < 0.01


def test_the_parts_are_the_same_everywhere_and_always() -> None:
    assert np.flatnonzero(in_verdict(KEYS[:20], np.ones(20, int), 0.5)).tolist() == [
        2,
        4,
        11,
        12,
        14,
        15,
        16,
        17,
        18,
        19,
    ]


@given(
    events=st.dictionaries(st.binary(max_size=9), st.integers(0, 50), max_size=20),
    share=st.sampled_from([0.2, 0.5, 0.8]),
    order=st.randoms(),
)
def test_whatever_their_order_each_part_is_near_its_share(events: dict[bytes, int], share: float, order) -> None:
    keys = list(events)
    chosen = dict(zip(keys, in_verdict(keys, np.array([events[key] for key in keys], int), share), strict=True))
    order.shuffle(keys)
    again = in_verdict(keys, np.array([events[key] for key in keys], int), share)
    assert [chosen[key] for key in keys] == again.tolist()
    judging = sum(events[key] for key in keys if chosen[key])
    assert abs(judging - share * sum(events.values())) <= max(events.values(), default=0)


def test_of_a_single_key_there_is_a_verdict_and_of_two_both_parts() -> None:
    assert in_verdict(["user"], np.array([9]), 0.5).tolist() == [True]
    assert in_verdict(["first", "second"], np.array([5, 5]), 0.5).sum() == 1
    assert in_verdict(["first", "second"], np.array([0, 5]), 0.5).tolist() == [False, True]


def test_each_shard_has_keys_of_both_parts() -> None:
    shards = hash_buckets(KEYS, 2**62) % 8
    chosen = in_verdict(KEYS, np.ones(len(KEYS), int), 0.5)
    shares = [chosen[shards == shard].mean() for shard in range(8)]
    assert min(shares) > 0.45
    assert max(shares) < 0.55


def _file(folder: Path, split: str, name: str) -> str:
    path = folder / f"Split-{split}" / name
    path.parent.mkdir(exist_ok=True)
    path.touch()
    return str(path)


def test_the_files_of_a_part_and_of_both(tmp_path: Path) -> None:
    select = [_file(tmp_path, SELECT, f"{number}.gz") for number in range(2)]
    verdict = [_file(tmp_path, VERDICT, "0.gz")]
    _file(tmp_path, VERDICT, "0.gz.partial")
    assert held_out_files(tmp_path, SELECT) == select
    assert held_out_files(tmp_path, VERDICT) == verdict
    assert held_out_files(tmp_path) == select + verdict


def test_a_span_from_before_there_were_parts_is_given_for_either(tmp_path: Path) -> None:
    files = [_file(tmp_path, "eval", "0.gz")]
    assert held_out_files(tmp_path) == held_out_files(tmp_path, SELECT) == held_out_files(tmp_path, VERDICT) == files
    assert held_out_files(tmp_path / "nothing", VERDICT) == []
