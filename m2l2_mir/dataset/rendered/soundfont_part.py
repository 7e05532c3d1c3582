"""Soundfont -> the part of it that some notes play: loads in milliseconds, sounds the same to the bit.

Loading a soundfont of 150 MB into the synthesizer takes longer than rendering a short clip with it. Nearly all of it is
sample data that the clip does not touch.

Conventions
-----------
* Presets, instruments and zones stay as they are, so that every rule of the synthesizer stays in force: its fall-back
  for missing presets, zones without an instrument, exclusive classes. Only sample data is left out.
* Addresses count sample points (16 bits) from the start of the sample data. A sample keeps whatever the zones that play
  it can address, by its header or by their offset generators, and the 46 points after it.
* Samples that are left out become silence. Samples in a ROM are addressed in the file, as the synthesizer does. The
  lower 8 bits of 24-bit samples, which it does not read, are dropped.
* What is not laid out as a soundfont should be comes back whole: the synthesizer says what is wrong with it.
* Not kept the same: a loop so short, or played so high, that one step of the synthesizer leaps over it. It then runs
  on through the samples behind it, as noise; here these may be missing.

Source: SoundFont Technical Specification 2.04, sections 5 to 7 and 8.1.2; rustysynth 1.3.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np

__all__ = ["part_of", "whole_of"]

_DRUM_KIT = 128 << 16  # bank in the upper 16 bits, program in the lower
_GUARD = 46
# of a sample that is left out: start, end and loop of the shortest one the specification allows
_SILENCE = (0, 48, 8, 40)
_LEAD = _SILENCE[1] + _GUARD

_INSTRUMENT, _SAMPLE, _SAMPLE_MODES = 41, 53, 54  # generators
_UNLOOPED = (0, 2)
_OFFSETS = ((0, 4), (1, 12), (2, 45), (3, 50))  # generators, fine and coarse, of start, end and loop
_COARSE = 32_768

# Tables of the parameters. Each preset and instrument owns the zones from its first to the next one's first, each zone
# its generators likewise, so that every table ends with a row that only bounds the one before.
_ZONE = np.dtype([("first", "<u2"), ("modulator", "<u2")])
_GENERATOR = np.dtype([("kind", "<u2"), ("amount", "<i2")])
_TABLES = {
    b"phdr": np.dtype([("name", "V20"), ("program", "<u2"), ("bank", "<u2"), ("first", "<u2"), ("rest", "V12")]),
    b"pbag": _ZONE,
    b"pgen": _GENERATOR,
    b"inst": np.dtype([("name", "V20"), ("first", "<u2")]),
    b"ibag": _ZONE,
    b"igen": _GENERATOR,
    b"shdr": np.dtype([("name", "V20"), ("points", "<i4", 4), ("rest", "V10")]),
}


def part_of(path: Path, programs: frozenset[int], *, drums: bool) -> bytes:
    """Cut a soundfont down to what some programs play.

    Parameters
    ----------
    path
        An ``.sf2`` file.
    programs
        General MIDI programs from 0, of bank 0. One that the soundfont lacks brings the preset that the synthesizer
        plays instead.
    drums
        Whether the standard drum kit (bank 128, program 0) is played.

    Returns
    -------
    bytes
        An ``.sf2`` file, in a small cache; the whole file if it is damaged or of another kind.

    Raises
    ------
    OSError
        The file cannot be read.
    """
    state = path.stat()
    try:
        return _part(path, state.st_size, state.st_mtime_ns, programs, drums)
    except (struct.error, ValueError, IndexError):  # to the synthesizer, which has the last word
        return whole_of(path)


def whole_of(path: Path) -> bytes:
    """The content of a soundfont file, in a small cache.

    Raises
    ------
    OSError
        The file cannot be read.
    """
    state = path.stat()
    return _whole(path, state.st_size, state.st_mtime_ns)


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """Everything of a soundfont but its sample data, and where that begins (bytes) and how long it is (points)."""

    info: bytes
    data_start: int
    data_points: int
    parameters: bytes
    headers_start: int  # of the samples, within parameters
    tables: Mapping[bytes, np.ndarray]


@lru_cache(maxsize=2)
def _whole(path: Path, size: int, time: int) -> bytes:
    return path.read_bytes()


@lru_cache(maxsize=8)
def _part(path: Path, size: int, time: int, programs: frozenset[int], drums: bool) -> bytes:
    font = _layout(path, size, time)
    points = font.tables[b"shdr"]["points"]
    headers, pieces, length = font.tables[b"shdr"].copy(), [bytes(2 * _LEAD)], _LEAD
    headers["points"][:-1] = _SILENCE
    reach = shift = 0
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        spans = _spans(font, _played_presets(font, programs, drums))
        for sample, (low, high) in sorted(spans.items(), key=lambda item: item[1]):
            if low >= reach:  # else it begins within what has just been copied, and moves along with it
                shift, reach = length - low, low
            stop = min(high + 1 + _GUARD, font.data_points)
            if stop > reach:
                pieces.append(content[font.data_start + 2 * reach : font.data_start + 2 * stop])
                length, reach = length + stop - reach, stop
            # clip: loop points that nothing uses may lie anywhere
            headers["points"][sample] = np.clip(points[sample], low, high) + shift
    after = font.headers_start + headers.nbytes
    parameters = font.parameters[: font.headers_start] + headers.tobytes() + font.parameters[after:]
    data = _chunk(b"LIST", b"sdta", _chunk(b"smpl", *pieces))
    return _chunk(b"RIFF", b"sfbk", font.info, data, parameters)


def _played_presets(font: _Layout, programs: Iterable[int], drums: bool) -> set[int]:
    """Rows of the presets that the synthesizer takes: of equal ones the last, for missing ones the lowest."""
    presets = font.tables[b"phdr"][:-1]
    numbers = (presets["bank"].astype(int) << 16 | presets["program"]).tolist()
    rows = {number: row for row, number in enumerate(numbers)}
    default = numbers.index(min(numbers))
    return {rows.get(number, default) for number in (*programs, *([_DRUM_KIT] if drums else []))}


def _spans(font: _Layout, presets: Iterable[int]) -> dict[int, tuple[int, int]]:
    """Lowest and highest address at which each played sample can be read, by its number."""
    instruments = {
        region.get(_INSTRUMENT, 0)
        for preset in presets
        for region in _regions(font, b"phdr", b"pbag", b"pgen", preset, _INSTRUMENT)
    }
    spans: dict[int, tuple[int, int]] = {}
    for instrument in instruments:
        for region in _regions(font, b"inst", b"ibag", b"igen", instrument, _SAMPLE):
            sample = region.get(_SAMPLE, 0)
            count = 2 if region.get(_SAMPLE_MODES, 0) in _UNLOOPED else 4
            points = font.tables[b"shdr"]["points"][sample].tolist()[:count]
            for point, (fine, coarse) in zip(points.copy(), _OFFSETS, strict=False):
                points.append(point + region.get(fine, 0) + _COARSE * region.get(coarse, 0))
            low, high = spans.get(sample, (points[0], points[0]))
            spans[sample] = min(low, *points), max(high, *points)
    if any(low < 0 or high >= font.data_points for low, high in spans.values()):
        raise ValueError("a sample lies outside the sample data")
    return spans


def _regions(
    font: _Layout, owners: bytes, zones: bytes, generators: bytes, row: int, last: int
) -> list[dict[int, int]]:
    """Generators of each zone of a preset or instrument, those of its global zone included, if it has one."""
    start, stop = font.tables[owners]["first"][row : row + 2].tolist()
    bounds = font.tables[zones]["first"][start : stop + 1].tolist()
    parts = [font.tables[generators][first:end].tolist() for first, end in pairwise(bounds)]
    common = parts.pop(0) if not parts[0] or parts[0][-1][0] != last else []
    return [dict(common + part) for part in parts]


@lru_cache(maxsize=4)
def _layout(path: Path, size: int, time: int) -> _Layout:
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if content[:4] != b"RIFF" or content[8:12] != b"sfbk":
            raise ValueError("not a soundfont")
        lists, position = {}, 12
        for kind in (b"INFO", b"sdta", b"pdta"):
            name, length = struct.unpack_from("<4sI", content, position)
            stop = position + 8 + length
            if name != b"LIST" or content[position + 8 : position + 12] != kind or stop > len(content):
                raise ValueError(f"no {kind!r} list")
            lists[kind], position = (position, stop), stop
        (info, _), (data, data_stop), (parameters, stop) = lists.values()
        data_start, data_length = _chunks(content, data + 12, data_stop).get(b"smpl", (0, 0))
        if content[data_start : data_start + 4] == b"OggS" or not data_length:
            raise ValueError("compressed samples, or none")
        chunks = _chunks(content, parameters + 12, stop)
        if not _TABLES.keys() <= chunks.keys():
            raise ValueError("a table is missing")
        tables = {}
        for kind, dtype in _TABLES.items():
            start, length = chunks[kind]
            tables[kind] = np.frombuffer(content[start : start + length], dtype)
        return _Layout(
            info=content[info:data],
            data_start=data_start,
            data_points=data_length // 2,
            parameters=content[parameters:stop],
            headers_start=chunks[b"shdr"][0] - parameters,
            tables=tables,
        )


def _chunks(content: mmap.mmap, position: int, stop: int) -> dict[bytes, tuple[int, int]]:
    """Start and length in bytes of each chunk of a list."""
    found = {}
    while position < stop:
        name, length = struct.unpack_from("<4sI", content, position)
        found[name] = position + 8, length
        position += 8 + length
    if position != stop:
        raise ValueError("chunks do not fill their list")
    return found


def _chunk(name: bytes, *content: bytes) -> bytes:
    return b"".join([name, struct.pack("<I", sum(map(len, content))), *content])
