"""Points of groups that lie apart stay together, whatever the number of tracks."""

from __future__ import annotations

import numpy as np
import pytest

from m2l2_mir.errors import InputError
from m2l2_mir.index import map as module
from m2l2_mir.index.map import place


def groups(rng, tracks: int) -> tuple[np.ndarray, np.ndarray]:
    codes = np.arange(tracks) % 4
    vectors = np.eye(12)[codes] + 0.05 * rng.normal(size=(tracks, 12))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), codes


@pytest.mark.parametrize(
    ("tracks", "placed", "method"), [(10, 2000, "principal"), (60, 2000, "t-SNE"), (200, 80, "t-SNE")]
)
def test_neighbours_on_the_plane_are_of_one_group(rng, monkeypatch, tracks, placed, method) -> None:
    monkeypatch.setattr(module, "MOST_PLACED", placed)
    vectors, codes = groups(rng, tracks)
    plane = place(vectors)
    assert plane.method.startswith(method)
    assert np.abs(plane.points).max() == pytest.approx(1)
    distance = np.linalg.norm(plane.points[:, None] - plane.points[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    assert np.mean(codes[distance.argmin(axis=1)] == codes) > 0.9
    assert np.isnan(plane.trust) if tracks < 30 else plane.trust > 0.9
    assert np.array_equal(plane.points, place(vectors).points)


def test_few_tracks() -> None:
    assert place(np.ones((1, 3))).points.tolist() == [[0, 0]]
    assert place(np.ones((4, 3))).points.tolist() == [[0, 0]] * 4
    with pytest.raises(InputError, match="did you mean 'tsne'"):
        place(np.eye(3), method="t-sne")
    with pytest.raises(InputError, match="at least 5 tracks"):
        place(np.eye(3), method="tsne")
