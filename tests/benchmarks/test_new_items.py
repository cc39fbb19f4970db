"""What the benchmark of new items compares, and counts as a hit."""

import numpy as np

from benchmarks.new_items import in_list, variants
from trainer.features.declaration import Feature


def test_each_row_has_a_kind_more_than_the_one_before():
    title, year, genres = (
        Feature(name=name, kind=kind)
        for name, kind in (("title", "text"), ("year", "number"), ("genres", "categories"))
    )
    assert variants([title, year, genres]) == {
        "ids alone": (),
        "+ categories": (genres,),
        "+ numbers": (genres, year),
        "+ text": (genres, year, title),
    }
    assert list(variants([title])) == ["ids alone", "+ text"]


def test_of_equal_scores_any_may_come_first():
    scores = np.array([[0.0, 0.0, 0.0, 0.0], [3.0, 2.0, 1.0, 0.0], [5.0, 1.0, 1.0, 1.0]])
    own = np.array([[0.0], [1.0], [1.0]])
    assert in_list(scores, own, 2).tolist() == [0.5, 0.0, 1 / 3]
    assert in_list(scores, own, 3).tolist() == [0.75, 1.0, 2 / 3]
    assert in_list(scores[:, :0], own, 2).tolist() == [1.0, 1.0, 1.0]
