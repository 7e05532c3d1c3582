"""What the map's script reads, and which tracks can be heard."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd

from m2l2_mir.audio import save
from m2l2_mir.report.track_map import sound_clips, track_map


def data_of(html: str) -> dict:
    return json.loads(re.search(r'id="atlas-data">(.*?)</script>', html, re.DOTALL).group(1))


def test_points_names_and_neighbours_reach_the_script() -> None:
    tracks = pd.DataFrame(
        {
            "track_id": ["a", "b", "c"],
            "title": ["</script><b>", "same", "same"],
            "artist": ["X", None, None],
            "x": [0.0, 1.0, -1.0],
            "y": [0.5, 0.25, 0.0],
            "genre": ["rock", "jazz", "jazz"],
            "bpm": [90.0, None, 120.5],
        }
    )
    neighbours = np.array([[1, 2], [2, -1], [1, 0]])
    html = track_map(
        tracks,
        neighbours,
        np.array([[0.9, 0.1], [0.8, -1], [0.8, 0.1]]),
        colour_by=["genre", "bpm"],
        clips={1: "data:x"},
    )
    found = data_of(html)
    assert found["titles"] == ["X: </script><b>", "same (b)", "same (c)"]
    assert found["neighbours"] == [[1, 2], [2], [1, 0]]
    assert found["scores"][1] == [0.8]
    assert found["columns"]["genre"] == {"kind": "class", "values": [1, 0, 0], "names": ["jazz", "rock"]}
    assert found["columns"]["bpm"]["values"][1] is None
    assert found["clips"] == {"1": "data:x"}
    assert "</script><b>" not in html
    assert "http" not in html.replace("data:", "")


def test_numbers_of_many_values_have_a_scale() -> None:
    many = pd.DataFrame({"track_id": list("abcdefghijklmnop"), "x": 0.0, "y": 0.0, "bpm": np.arange(16) + 0.123456})
    lists = np.tile([[1]], (16, 1))
    found = data_of(track_map(many, lists, lists * 0.5, colour_by=["bpm"], clips={}))
    assert found["columns"]["bpm"]["range"] == [0.1235, 15.12]


def test_within_the_budget_a_track_comes_with_its_neighbours(tmp_path: Path) -> None:
    paths = []
    for number in range(12):
        paths.append(str(tmp_path / f"{number}.wav"))
        save(Path(paths[-1]), 0.1 * np.sin(np.arange(8000) * (number + 1) / 20)[None], 8000)
    paths[5] = str(tmp_path / "gone.wav")
    neighbours = np.array([[(row + 1) % 12, (row + 2) % 12] for row in range(12)])
    everything = sound_clips(paths, neighbours, budget=1e6)
    assert sorted(everything) == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11]
    assert all(clip.startswith("data:audio/") for clip in everything.values())
    some = sound_clips(paths, neighbours, budget=3 * 4 * 11_000)
    assert len(some) <= 3
    assert any({row, *neighbours[row]} - {5} <= some.keys() for row in range(12))
    assert sound_clips(paths, neighbours, budget=0) == {}
