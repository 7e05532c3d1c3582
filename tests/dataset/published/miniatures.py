"""Miniatures of mirdata's sets: the real layout and file names, with a few short tracks and an index that fits them."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mirdata
import numpy as np
import soundfile

SAMPLE_RATE = 22_050


@dataclass(frozen=True)
class Audio:
    """A tone to be written as the file name's extension says: .wav, .flac, .ogg or .mp3."""

    frequency: float = 440.0
    seconds: float = 0.2
    channels: int = 1


Content = Audio | bytes | str | Mapping[str, Any]  # a mapping is written as JSON
File = tuple[str | None, Content | None]  # path in the set, None where the index says null; content, None: no such file


def write_file(path: Path, content: Content) -> Path:
    """Write a file with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, Audio):
        content = _encoded(content, path.suffix)
    elif isinstance(content, Mapping):
        content = json.dumps(content)
    path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
    return path


def make_miniature(
    home: Path,
    loader: str,
    tracks: Mapping[str, Mapping[str, File]],
    *,
    metadata: Mapping[str, File] | None = None,
    version: str = "default",
) -> Path:
    """Write the files of a set and its index, named as mirdata names it; returns the index."""

    def entry(path: str | None, content: Content | None) -> list[str | None]:
        if path is None:
            return [None, None]
        if content is None:
            return [path, "0" * 32]
        return [path, hashlib.md5(write_file(home / path, content).read_bytes()).hexdigest()]

    index: dict[str, Any] = {
        "version": version,
        "tracks": {track_id: {key: entry(*file) for key, file in files.items()} for track_id, files in tracks.items()},
    }
    if metadata:
        index["metadata"] = {key: entry(*file) for key, file in metadata.items()}
    name = Path(mirdata.initialize(loader, data_home=str(home), version=version).index_path).name
    return write_file(home / name, index)


def _encoded(audio: Audio, suffix: str) -> bytes:
    times = np.arange(round(audio.seconds * SAMPLE_RATE)) / SAMPLE_RATE
    tone = 0.3 * np.sin(2 * np.pi * audio.frequency * times)
    buffer = io.BytesIO()
    soundfile.write(buffer, np.stack([tone] * audio.channels, axis=1), SAMPLE_RATE, format=suffix[1:].upper())
    return buffer.getvalue()
