"""Clips keep their embeddings together."""

from __future__ import annotations

import numpy as np

from m2l2_mir.quality.embedding_sets import embedding_sets


def test_rows_of_chosen_clips() -> None:
    lengths = [2, 1, 3]
    grouped, single = embedding_sets([np.full((n, 4), float(n)) for n in lengths], np.ones((5, 4)))
    assert (grouped.clips, single.clips) == (3, 5)
    assert grouped.clip.tolist() == [0, 0, 1, 2, 2, 2]
    assert grouped.rows(np.array([2, 0, 2])).tolist() == [3, 4, 5, 0, 1, 3, 4, 5]
    assert grouped.vectors[grouped.rows(np.array([1]))].tolist() == [[1.0] * 4]
    assert single.rows(np.array([3, 3])).tolist() == [3, 3]
