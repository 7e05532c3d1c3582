"""A table of labels that calls tracks by their files, and its artists."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from m2l2_mir.disentangle.labels import label_blocks

CLIPS = 60


@pytest.fixture
def table() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "File": [f"music/{number}.wav" for number in range(CLIPS)],
            "Mood": [f"m{number % 3}" for number in range(CLIPS)],
            "bpm": [60.5 + number for number in range(CLIPS)],
            "artist": [f"a{number % 6}" if number else None for number in range(CLIPS)],
        }
    )


def test_rows_are_matched_by_their_files_and_artists_are_groups(tmp_path: Path, table: pd.DataFrame) -> None:
    table.to_csv(tmp_path / "my.csv", index=False)
    ids = [f"{number}.wav" for number in range(CLIPS)]
    known = pd.DataFrame({"track_id": ids, "path": [str(tmp_path / "music" / name) for name in ids]})
    [block], notes = label_blocks(tmp_path / "my.csv", known)
    assert block.track_ids == ids
    assert block.names == ("Mood", "bpm")
    assert block.groups[:3] == ["0.wav", "a1", "a2"]
    assert len(set(block.groups)) == 7
    assert notes[0] == "no column group: tracks of one artist count as belonging together"
    assert len(notes) == 2  # and that there are no pairs
    [block], notes = label_blocks(tmp_path / "my.csv", known, factors=["artist", "mood", "tempo:continuous"])
    assert block.names == ("artist", "Mood", "bpm")
    assert block.groups[:2] == ["1.wav", "2.wav"]
    assert "no column group: every track counts as independent of all others" in notes
    table.assign(artist="aa").to_csv(tmp_path / "my.csv", index=False)
    assert label_blocks(tmp_path / "my.csv", known)[0][0].groups[:2] == ids[:2]
