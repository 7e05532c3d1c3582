"""Playlists of results."""

from __future__ import annotations

import pytest

from m2l2_mir.errors import InputError
from m2l2_mir.index.result_files import playlist


def test_a_playlist_names_what_is_known() -> None:
    tracks = [
        {"track_id": "x", "path": "/music/é 1.mp3", "title": "So\nWhat", "artist": None, "duration": 3.6},
        {"track_id": "y", "path": "/music/y.mp3", "title": float("nan")},
    ]
    assert playlist(tracks) == "#EXTM3U\n#EXTINF:4,So What\n/music/é 1.mp3\n#EXTINF:-1,y\n/music/y.mp3\n"


@pytest.mark.parametrize(("path", "message"), [(None, "knows none of 'x'"), ("a\nb.wav", "has a line break")])
def test_what_a_playlist_cannot_hold_is_refused(path: str | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        playlist([{"track_id": "x", "path": path}])
